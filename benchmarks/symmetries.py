"""The effect of the symmetries of the data on the error of surrogates, on three systems.

Each surrogate is trained with `training.symmetries=none` and with `training.symmetries=all`, with two seeds.
Both trainings have the same data, steps and options. The error is the valid error of the train stage after
the last step (docs/training.md): the relative L2 error of rollouts on 32 trajectories that are in no batch.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from benchmarks.support.measuring import print_and_store
from benchmarks.support.training import generate_dataset, train_surrogate
from surrogates import store

SEEDS = (0, 1)
#: The number of training trajectories and the options of each data set.
DATASETS = {
    "heat": (64, ("experiment=heat_fno",)),
    "flow": (32, ("experiment=navier_stokes", "solver.resolution=32", "solver.viscosity=[2e-3,4e-3]")),
    "two bodies": (200, ("experiment=two_body",)),
}
#: The data set, the surrogate, the steps and the options of its training, for each row.
ROWS = (
    ("heat", "fno", 500, ()),
    ("heat", "deeponet", 500, ("training.unroll=10",)),
    ("flow", "fno", 500, ()),
    ("flow", "deeponet", 500, ("training.unroll=5",)),
    (
        "two bodies",
        "mlp",
        1500,
        ("training.unroll=100", "training.batch_size=32", "training.learning_rate=2e-3"),
    ),
)


def main() -> None:
    """Print and store the errors without and with symmetries."""
    # This variable sets the number of threads of the train stage.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        datasets = {
            name: generate_dataset(
                Path(folder) / name.replace(" ", "-"),
                *options,
                f"samples={{train: {count}, valid: 32, test: 1, test_extrapolation: 0, per_shard: 8}}",
            )
            for name, (count, options) in DATASETS.items()
        }
        rows = [_row(Path(folder) / f"row-{index}", datasets, row) for index, row in enumerate(ROWS)]
    claim = "Symmetries in training: relative L2 error of rollouts on the valid split, two seeds"
    print_and_store("symmetries", claim, rows, ["torch", "numpy"])


def _row(
    folder: Path, datasets: dict[str, Path], row: tuple[str, str, int, tuple[str, ...]]
) -> dict[str, object]:
    name, surrogate_name, steps, options = row
    count, data_options = DATASETS[name]

    def error(choice: str, seed: int) -> float:
        run = folder / f"{choice}-{seed}"
        train_surrogate(
            run,
            datasets[name],
            *data_options,
            f"surrogate={surrogate_name}",
            f"training.symmetries={choice}",
            f"training.seed={seed}",
            *options,
            *(f"training.{key}={steps}" for key in ("steps", "validate_every", "checkpoint_every")),
        )
        return float(store.description(run / "models" / surrogate_name)["valid_error"])

    errors_without, errors_with = ([error(choice, seed) for seed in SEEDS] for choice in ("none", "all"))
    return {
        "data": name,
        "training trajectories": count,
        "surrogate": surrogate_name,
        "steps": steps,
        "without": ", ".join(f"{error:.2%}" for error in errors_without),
        "with": ", ".join(f"{error:.2%}" for error in errors_with),
    }


if __name__ == "__main__":
    main()
