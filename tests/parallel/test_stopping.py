"""SIGUSR1 stops a stage with its progress saved; the same command then ends like an undisturbed run."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.driving import drift, made
from tests.support import launching
from tests.support.launching import stage, succeeded
from tests.support.training_cases import generate_dataset, train_together, words

#: Several seconds of work on two ranks, in shards of well under a second.
LARGE = ("samples.train=384", "samples.per_shard=4", "solver.resolution=64", "output.steps=20")
LONG = ("training.steps=300", "training.validate_every=100", "training.checkpoint_every=100000")


def test_generate_keeps_whole_shards_and_continues(tmp_path: Path) -> None:
    overrides = ("solver=heat", f"run={tmp_path / 'stopped'}", *LARGE)

    def has_shards() -> bool:
        return any((tmp_path / "stopped").rglob("*.hdf5"))

    assert stopped("generate", *overrides, when=has_shards) == 75
    record = newest(tmp_path / "stopped", "generate")
    assert record["outcome"] == "interrupted"
    assert 0 < record["progress"]["done"] < record["progress"]["total"] == 400
    assert 0 < len(list((tmp_path / "stopped" / "dataset" / "data").rglob("*.hdf5"))) < 100
    assert not list((tmp_path / "stopped").rglob("*.partial"))
    succeeded(stage("generate", *overrides, ranks=2))
    assert newest(tmp_path / "stopped", "generate")["progress"]["start"] == record["progress"]["done"]
    succeeded(stage("generate", "solver=heat", f"run={tmp_path / 'whole'}", *LARGE, ranks=2))
    assert made(tmp_path / "stopped") == made(tmp_path / "whole")


def test_training_that_is_stopped_twice_ends_with_the_same_bits(tmp_path: Path) -> None:
    dataset = generate_dataset(tmp_path / "data")
    straight, interrupted = (tmp_path / name for name in ("straight", "interrupted"))
    done = 0
    for _ in range(2):
        assert stopped("train", *words(interrupted, dataset, *LONG), when=lambda: True) == 75
        record = newest(interrupted, "train")
        assert record["outcome"] == "interrupted"
        assert record["progress"]["start"] == done < record["progress"]["done"] < 300
        done = record["progress"]["done"]
    train_together(
        tmp_path / "runs.json", [words(folder, dataset, *LONG) for folder in (straight, interrupted)]
    )
    for name in ("model.safetensors", "log.csv"):
        content, expected = ((run / "models" / "fno" / name) for run in (interrupted, straight))
        assert content.read_bytes() == expected.read_bytes(), name


def test_a_stage_without_progress_to_save_ignores_the_signal(tmp_path: Path) -> None:
    succeeded(drift("generate", tmp_path))
    assert "passed" in succeeded(drift("validate", tmp_path, fault="signalled")).stdout


def stopped(name: str, *overrides: str, when: Callable[[], bool]) -> int:
    """Send SIGUSR1 to mpirun once a stage on two ranks works and `when` is true, and return its exit code."""
    run = Path(next(option for option in overrides if option.startswith("run=")).removeprefix("run="))
    before = len(records_of(run, name))
    command = launching.mpi(2, "-m", f"pipeline.{name}", *overrides)
    with subprocess.Popen(command, env=launching.environment(), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 180
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
