"""Stages on the drift solver, with or without a fault, and the comparison of the resulting data sets."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from unittest import mock

from pipeline.config.compose import hydra_arguments
from pipeline.data.card import figures
from tests.faults.stage import drift_words
from tests.support import launching
from tests.support.in_process import settings_of

STAGE = ("-m", "tests.faults.stage")
ROOT = Path(__file__).parents[2]
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
    """Run a stage on the drift solver in new processes; `ranks=0` starts one process without mpirun."""
    arguments = [*STAGE, stage, fault, f"run={run}", *SMALL, *overrides]
    command = launching.mpi(ranks, *arguments) if ranks else [sys.executable, *arguments]
    return launching.run(command, timeout=120, cwd=ROOT, **extra)


def drift_in_process(stage: str, run: Path, *overrides: str) -> None:
    """Run a stage on the drift solver in this process, without figures on the data card."""
    words = hydra_arguments(drift_words(*SMALL, *overrides))
    with mock.patch.object(figures, "draw", return_value=[]):
        importlib.import_module(f"pipeline.{stage}").run(settings_of(run, *words))


def made(run: Path) -> dict[str, bytes]:
    """Return every shard and the statistics, by path inside the data set."""
    folder = run / "dataset"
    paths = [*folder.glob("data/*/*"), folder / "stats.yaml"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}
