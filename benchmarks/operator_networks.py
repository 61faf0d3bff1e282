"""The errors of Fourier and deep operator networks after equal training time on one core.

The data are heat conduction with random conductivity (experiment=heat_fno) and forced flow
(experiment=navier_stokes), with 192 trajectories each. The training uses no symmetries, float32, batches of
8, and a learning rate of 2e-3 with a cosine schedule to zero. The networks have the options of their YAML. A
short training measures the time of a step. The training then takes as many steps as fit into `SECONDS`. The
errors are relative L2 errors of rollouts on 16 test trajectories: the mean over frames and channels, and the
error of the last frame.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from benchmarks.support.measuring import print_and_store
from benchmarks.support.training import generate_dataset, rollout_errors, train_surrogate
from surrogates.contract import Surrogate

#: The training time of each network, s.
SECONDS = 60.0
SAMPLES = "samples={train: 192, valid: 8, test: 16, test_extrapolation: 0, per_shard: 16}"
#: The experiment, the network, and the options of the network for each row.
ROWS = (
    ("heat_fno", "fno", ()),
    ("heat_fno", "deeponet", ("training.unroll=5",)),
    ("heat_fno", "pi_deeponet", ("training.unroll=5", "surrogate.times=1")),
    ("heat_fno", "pi_deeponet", ("training.unroll=10", "surrogate.times=2", "surrogate.data_weight=0")),
    ("navier_stokes", "fno", ()),
    ("navier_stokes", "deeponet", ("training.unroll=5", "surrogate.functions=8")),
    ("navier_stokes", "deeponet", ("training.unroll=20",)),
    (
        "navier_stokes",
        "pi_deeponet",
        ("training.unroll=5", "surrogate.times=1", "surrogate.functions=8"),
    ),
    (
        "navier_stokes",
        "pi_deeponet",
        (
            "training.unroll=5",
            "surrogate.times=1",
            "surrogate.functions=8",
            "training.balance_every=20",
        ),
    ),
)


def main() -> None:
    """Print and store the steps and errors of each network."""
    # This variable sets the number of threads of the train stage.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        datasets = {
            experiment: generate_dataset(Path(folder) / experiment, f"experiment={experiment}", SAMPLES)
            for experiment in dict(row[:2] for row in ROWS)
        }
        rows = [
            _row(Path(folder) / f"row-{index}", datasets[experiment], experiment, surrogate_name, options)
            for index, (experiment, surrogate_name, options) in enumerate(ROWS)
        ]
    claim = f"Operator networks after {SECONDS:.0f} s of training on one core: errors on the test split"
    print_and_store("operator_networks", claim, rows, ["torch", "numpy"])


def _row(
    folder: Path, dataset: Path, experiment: str, surrogate_name: str, options: tuple[str, ...]
) -> dict[str, object]:
    overrides = (
        f"experiment={experiment}",
        f"surrogate={surrogate_name}",
        "training.batch_size=8",
        "training.symmetries=none",
        *options,
    )

    def train_for(steps: int) -> tuple[Surrogate, float]:
        schedule = (f"training.validate_every={steps}", f"training.checkpoint_every={steps}")
        return train_surrogate(folder / str(steps), dataset, *overrides, f"training.steps={steps}", *schedule)

    _, seconds = train_for(20)
    steps = max(1, round(SECONDS / seconds))
    surrogate, seconds = train_for(steps)
    frame_errors = rollout_errors(surrogate, dataset).mean((0, 2))
    return {
        "experiment": experiment,
        "surrogate": surrogate_name,
        "options": " ".join(override.partition(".")[2] for override in options),
        "weights": sum(weight.numel() for weight in surrogate.parameters()),
        "steps": steps,
        "training, s": steps * seconds,
        "mean error": float(frame_errors.mean()),
        "error at the last frame": float(frame_errors[-1]),
    }


if __name__ == "__main__":
    main()
