"""The effect of the symmetries of the data on the error of surrogates, on three systems.

Each surrogate is trained with `training.symmetries=none` and with `training.symmetries=all`, with two seeds.
Both trainings have the same data, steps and options of `configs/experiment/results/`. The data sets are
smaller than those of the experiments. The errors are relative L2 errors of rollouts on the test split, the
mean over trajectories, frames and channels.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from benchmarks.support.measuring import print_and_store
from benchmarks.support.training import generate_dataset, rollout_errors, train_surrogate

SEEDS = (0, 1)
#: The numbers of training trajectories of each experiment.
TRAJECTORIES = {"heat": (32, 128), "navier_stokes": (32,), "two_body": (200,)}
#: The experiment and the surrogate of each row.
ROWS = (
    ("heat", "fno"),
    ("heat", "deeponet"),
    ("navier_stokes", "fno"),
    ("navier_stokes", "deeponet"),
    ("two_body", "mlp"),
)


def main() -> None:
    """Print and store the errors without and with symmetries."""
    # This variable sets the number of threads of the train stage.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        datasets = {
            (system, count): generate_dataset(
                Path(folder) / f"{system}-{count}",
                f"experiment=results/{system}",
                f"samples={{train: {count}, valid: 8, test: 32, test_extrapolation: 0, per_shard: 8}}",
            )
            for system, counts in TRAJECTORIES.items()
            for count in counts
        }
        rows = [
            _row(
                Path(folder) / f"{system}-{surrogate}-{count}",
                datasets[system, count],
                system,
                surrogate,
                count,
            )
            for system, surrogate in ROWS
            for count in TRAJECTORIES[system]
        ]
    claim = "Symmetries in training: relative L2 error of rollouts of the test split, two seeds"
    print_and_store("symmetries", claim, rows, ["torch", "numpy"])


def _row(folder: Path, dataset: Path, system: str, surrogate_name: str, count: int) -> dict[str, object]:
    errors: dict[str, list[float]] = {"none": [], "all": []}
    seconds: dict[str, list[float]] = {"none": [], "all": []}
    for seed in SEEDS:
        for choice, choice_errors in errors.items():
            surrogate, step_seconds = train_surrogate(
                folder / f"{choice}-{seed}",
                dataset,
                f"experiment=results/{system}",
                f"surrogate={surrogate_name}",
                f"training.symmetries={choice}",
                f"training.seed={seed}",
            )
            choice_errors.append(float(rollout_errors(surrogate, dataset).mean()))
            seconds[choice].append(step_seconds)
    return {
        "system": system,
        "surrogate": surrogate_name,
        "training trajectories": count,
        "error without": ", ".join(f"{error:.2%}" for error in errors["none"]),
        "error with": ", ".join(f"{error:.2%}" for error in errors["all"]),
        "time of a step, with / without": min(seconds["all"]) / min(seconds["none"]),
    }


if __name__ == "__main__":
    main()
