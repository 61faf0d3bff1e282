"""Stages with the drift solver, with or without a fault, and the contents of their data sets."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from pipeline.config.compose import hydra_arguments
from pipeline.data.card import figures
from pipeline.data.manifest import Manifest, read_document
from simsurrogate.files import sha256_of
from tests.faults.stage import drift_overrides
from tests.support import launching
from tests.support.in_process import settings_of

VICTIM = "data/train/train-00001.hdf5"
STAGE = ("-m", "tests.faults.stage")
ROOT = Path(__file__).parents[2]
SMALL_DATASET = (
    "samples.train=4",
    "samples.valid=2",
    "samples.test=2",
    "samples.test_extrapolation=1",
    "samples.per_shard=2",
    "output.steps=3",
)


def run_drift(
    stage: str,
    run: Path,
    *overrides: str,
    fault: str = "none",
    ranks: int = 0,
    is_forked: bool = True,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run a stage with the drift solver in new processes, without mpirun if `ranks` is 0.

    Unless `is_forked` is false, ranks of mpirun are forked after all imports.
    """
    arguments = [*STAGE, stage, fault, f"run={run}", *SMALL_DATASET, *overrides]
    if ranks:
        command_on_ranks = launching.forked_mpi_command if is_forked else launching.mpi_command
        command = command_on_ranks(ranks, *arguments)
    else:
        command = [sys.executable, *arguments]
    return launching.run(command, timeout=120, cwd=ROOT, **variables)


def run_drift_in_process(stage: str, run: Path, *overrides: str) -> None:
    """Run a stage with the drift solver in this process, without figures on the data card."""
    arguments = hydra_arguments(drift_overrides(*SMALL_DATASET, *overrides))
    with mock.patch.object(figures, "draw", return_value=[]):
        importlib.import_module(f"pipeline.{stage}").run(settings_of(run, *arguments))


def read_generated(run: Path) -> dict[str, bytes]:
    """Return the bytes of every shard and of the statistics, by path inside the data set."""
    folder = run / "dataset"
    paths = [*folder.glob("data/*/*"), folder / "stats.yaml"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}


def forge(run: Path, change: Callable[[Path], None], victim: str = VICTIM) -> None:
    """Change a shard and correct all documents, like a faulty or hostile program."""
    dataset = run / "dataset"
    change(dataset / victim)
    keys = {"size": (dataset / victim).stat().st_size, "sha256": sha256_of(dataset / victim)}
    _update(dataset / "receipts" / f"{Path(victim).stem}.json", keys)
    manifest = json.loads((dataset / "manifest.json").read_text())
    for entry in manifest["shards"]:
        if entry["file"] == victim:
            entry.update(keys)
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    _update(
        dataset / "validation.json",
        {"identity": read_document(dataset / "manifest.json", Manifest).identity},
    )


def _update(path: Path, keys: dict[str, object]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))
