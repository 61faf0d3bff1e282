"""The errors of operators on grids that they were not trained on.

    python -m benchmarks.other_grids

Fourier neural operators and DeepONets learn heat conduction on 32 x 32 cells, or on 32 x 32 and 48 x 48 cells
in turn, and predict on 32 x 32, 48 x 48 and 64 x 64 cells. Errors are relative L2 errors of the last frame on
the test split of each grid: medians over trajectories, which are equal but for the grid.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.support.measuring import print_and_store
from benchmarks.support.training import generate_dataset, rollout_errors, train_surrogate
from pipeline.data.dataset import Dataset
from surrogates import store

CELLS = (32, 48, 64)
SEEDS = (0, 1)
STEPS = 300
DATA = ("solver=heat", "output={duration: 0.05, steps: 5}")
#: The name of the surrogate and whether it is trained on two grids.
MODELS = (("fno", False), ("fno", True), ("deeponet", False), ("deeponet", True))


def main() -> None:
    """Print and store the errors."""
    # This variable sets the number of threads of the train stage.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        datasets = {cells: _dataset(folder, cells) for cells in CELLS}
        errors = {f"{cells} x {cells}": _persistence(datasets[cells]) for cells in CELLS}
        rows: list[dict[str, object]] = [{"surrogate": "persistence", **errors}]
        for surrogate, has_two_grids in MODELS:
            for seed in SEEDS:
                run = folder / f"{surrogate}-{has_two_grids}-{seed}"
                other = f"training.other_grids=[{datasets[48]}]"
                train_surrogate(
                    run,
                    datasets[32],
                    f"surrogate={surrogate}",
                    "surrogate.width=16",
                    f"training.seed={seed}",
                    "training.batch_size=8",
                    *(f"training.{key}={STEPS}" for key in ("steps", "validate_every", "checkpoint_every")),
                    *([other] if has_two_grids else []),
                )
                errors = {
                    f"{cells} x {cells}": _error(run / "models" / surrogate, datasets[cells], cells)
                    for cells in CELLS
                }
                grids = "32 x 32 and 48 x 48" if has_two_grids else "32 x 32"
                rows.append({"surrogate": surrogate, "trained on": grids, "seed": seed, **errors})
                print(rows[-1], flush=True)
    claim = "Operators on other grids: relative L2 error of the last frame on the test split of each grid"
    print_and_store("other_grids", claim, rows, ["torch", "numpy"])


def _dataset(folder: Path, cells: int) -> Path:
    return generate_dataset(
        folder / str(cells),
        *DATA,
        f"solver.resolution={cells}",
        "storage.max_error=0.2",
        "samples={train: 64, valid: 8, test: 16, test_extrapolation: 0, per_shard: 8}",
    )


def _persistence(dataset: Path) -> float:
    data = Dataset.open(dataset)
    states = [data.trajectory("test", index).state for index in range(data.num_trajectories("test"))]
    return float(
        np.median([np.linalg.norm(state[0] - state[-1]) / np.linalg.norm(state[-1]) for state in states])
    )


def _error(model: Path, dataset: Path, cells: int) -> float:
    surrogate = store.load(model, shape=(cells, cells))
    return float(np.median(rollout_errors(surrogate, dataset)[:, -1]))


if __name__ == "__main__":
    main()
