"""Starts stages with a fault in them, and compares the data sets that remain."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import launching

STAGE = Path(__file__).parent / "stage.py"
SMALL = (
    "samples.train=4",
    "samples.valid=2",
    "samples.test=2",
    "samples.test_extrapolation=1",
    "samples.per_shard=2",
    "output.steps=3",
)


def drift(
    stage: str, run: Path, *overrides: str, fault: str = "none", ranks: int = 0, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Runs a stage on the drift solver with the small configuration; without mpirun where `ranks` is 0."""
    arguments = [str(STAGE), stage, fault, f"run={run}", *SMALL, *overrides]
    command = launching.mpi(ranks, *arguments) if ranks else [sys.executable, *arguments]
    return launching.run(command, timeout=120, **extra)


def made(run: Path) -> dict[str, bytes]:
    """Every shard and the statistics, by path inside the data set."""
    folder = run / "dataset"
    paths = [*folder.glob("data/*/*"), folder / "stats.yaml"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}
