"""SIGUSR1 ends a stage with what it has: run again, it gives what an undisturbed run gives."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.driving import drift, made
from tests.support import launching
from tests.support.launching import stage, succeeded

#: Several seconds of work on two ranks, in shards of well under a second.
LARGE = ("samples.train=384", "samples.per_shard=4", "solver.resolution=64", "output.steps=20")
TRAINING = (
    "surrogate.width=8",
    "surrogate.modes=6",
    "training.steps=600",
    "training.batch_size=4",
    "training.validate_every=200",
    "training.checkpoint_every=100000",
    "training.device=cpu",
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of the smoke experiment, and a model trained on two ranks."""
    run = tmp_path_factory.mktemp("undisturbed")
    for name in ("generate", "validate"):
        succeeded(stage(name, "experiment=smoke", f"run={run}"))
    succeeded(stage("train", "experiment=smoke", f"run={run}", *TRAINING, ranks=2))
    return run


def test_generate_keeps_whole_shards_and_goes_on(tmp_path: Path) -> None:
    overrides = ("solver=heat", f"run={tmp_path / 'stopped'}", *LARGE)

    def some_are_made() -> bool:
        return any((tmp_path / "stopped").rglob("*.hdf5"))

    assert stopped("generate", *overrides, when=some_are_made) == 75
    record = newest(tmp_path / "stopped", "generate")
    assert record["outcome"] == "interrupted"
    assert 0 < record["progress"]["done"] < record["progress"]["total"] == 400
    assert 0 < len(list((tmp_path / "stopped" / "dataset" / "data").rglob("*.hdf5"))) < 100
    assert not list((tmp_path / "stopped").rglob("*.partial"))
    succeeded(stage("generate", *overrides, ranks=2))
    assert newest(tmp_path / "stopped", "generate")["progress"]["start"] == record["progress"]["done"]
    succeeded(stage("generate", "solver=heat", f"run={tmp_path / 'whole'}", *LARGE, ranks=2))
    assert made(tmp_path / "stopped") == made(tmp_path / "whole")


def test_training_stopped_three_times_ends_with_the_same_bits(undisturbed: Path, tmp_path: Path) -> None:
    overrides = ("experiment=smoke", f"run={tmp_path}", f"dataset={undisturbed / 'dataset'}", *TRAINING)
    reached = 0
    for _ in range(3):
        assert stopped("train", *overrides, when=lambda: time.sleep(0.7) is None) == 75
        record = newest(tmp_path, "train")
        assert record["outcome"] == "interrupted"
        assert record["progress"]["start"] == reached < record["progress"]["done"] < 600
        reached = record["progress"]["done"]
    succeeded(stage("train", *overrides, ranks=2))
    for name in ("model.safetensors", "log.csv"):
        ours, theirs = (run / "models" / "fno" / name for run in (tmp_path, undisturbed))
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_a_stage_that_has_nothing_to_save_is_left_alone(tmp_path: Path) -> None:
    succeeded(drift("generate", tmp_path))
    assert "passed" in succeeded(drift("validate", tmp_path, fault="signalled")).stdout


def stopped(name: str, *overrides: str, when: Callable[[], bool]) -> int:
    """Sends mpirun SIGUSR1 once a stage on two ranks has begun to work and `when` holds; how it ended."""
    run = Path(next(word for word in overrides if word.startswith("run=")).removeprefix("run="))
    before = len(records_of(run, name))
    command = launching.mpi(2, "-m", f"pipeline.{name}", *overrides)
    with subprocess.Popen(command, env=launching.environment(), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (len(records_of(run, name)) > before and "progress" in newest(run, name) and when()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGUSR1)
        return process.wait(60)


def newest(run: Path, name: str) -> dict[str, Any]:
    return records_of(run, name)[-1]


def records_of(run: Path, name: str) -> list[dict[str, Any]]:
    texts = [path.read_text() for path in sorted((run / "records").glob(f"{name}-*.json"))]
    return [json.loads(text) for text in texts if text]
