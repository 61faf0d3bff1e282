"""The rate of random training windows from the memory-mapped reader and from h5py, on one warm core."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from benchmarks.support.measuring import medians, print_and_store
from pipeline.data.dataset import Dataset

BATCH, LENGTH = 64, 2
OVERRIDES = (
    "solver.resolution=128",
    "solver.diffusivity.kind=constant",
    "samples.train=64",
    "samples.valid=1",
    "samples.test=1",
)


def main() -> None:
    """Print and store the windows per second of both readers."""
    with tempfile.TemporaryDirectory() as folder:
        for stage in ("generate", "validate"):
            subprocess.run(
                [sys.executable, "-m", f"pipeline.{stage}", *OVERRIDES, f"run={folder}"],
                check=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        rows = [_compare(Dataset.open(Path(folder) / "dataset"))]
    claim = f"Random windows of {LENGTH} frames at 128^2, float32, batches of {BATCH}"
    print_and_store("windows_against_h5py", claim, rows, ["h5py", "numpy"])


def _compare(dataset: Dataset) -> dict[str, object]:
    windows = dataset.windows("train", LENGTH)
    shards = sorted((dataset.folder / "data" / "train").glob("*.hdf5"))
    fields = [h5py.File(shard, "r", locking=False)["t0_fields/temperature"] for shard in shards]
    positions = [
        (field, row, start)
        for field in fields
        for row in range(field.shape[0])
        for start in range(field.shape[1] - LENGTH + 1)
    ]
    indices = np.random.default_rng(0).permutation(len(windows))[:BATCH]

    def peer() -> np.ndarray:
        batch = [positions[index] for index in indices]
        return np.stack([field[row, start : start + LENGTH] for field, row, start in batch])[:, :, None]

    def ours() -> np.ndarray:
        return windows.take(indices)["state"]

    if not np.array_equal(peer(), ours()):
        raise SystemExit("the two readers return different windows; times of unequal work are not comparable")
    seconds = medians({"h5py": peer, "ours": ours}, rounds=50)
    return {
        "h5py, windows/s": BATCH / seconds["h5py"],
        "ours, windows/s": BATCH / seconds["ours"],
        "ratio": seconds["h5py"] / seconds["ours"],
    }


if __name__ == "__main__":
    main()
