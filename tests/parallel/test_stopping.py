"""Stages stopped by SIGUSR1: saved progress, and continuation to the same result."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.driving import read_generated, run_drift
from tests.support import launching
from tests.support.launching import require_success, run_stage
from tests.support.trainings.training_cases import generate_dataset, tiny_arguments, train_together

#: A data set that takes two ranks several seconds, with shards that take less than a second.
LARGE_DATASET = ("samples.train=184", "samples.per_shard=4", "solver.resolution=64", "output.steps=20")
LONG_TRAINING = ("training.steps=150", "training.validate_every=50", "training.checkpoint_every=100000")


def test_generate_keeps_whole_shards_and_continues(tmp_path: Path) -> None:
    overrides = ("solver=heat", f"run={tmp_path / 'stopped'}", *LARGE_DATASET)

    def has_shards() -> bool:
        return any((tmp_path / "stopped").rglob("*.hdf5"))

    assert stop_stage("generate", *overrides, condition=has_shards) == 75
    record = newest_record(tmp_path / "stopped", "generate")
    assert record["outcome"] == "interrupted"
    assert 0 < record["progress"]["done"] < record["progress"]["total"] == 200
    assert 0 < len(list((tmp_path / "stopped" / "dataset" / "data").rglob("*.hdf5"))) < 50
    assert not list((tmp_path / "stopped").rglob("*.partial"))
    require_success(run_stage("generate", *overrides, ranks=2))
    assert newest_record(tmp_path / "stopped", "generate")["progress"]["start"] == record["progress"]["done"]
    require_success(
        run_stage("generate", "solver=heat", f"run={tmp_path / 'whole'}", *LARGE_DATASET, ranks=2)
    )
    assert read_generated(tmp_path / "stopped") == read_generated(tmp_path / "whole")


def test_training_that_is_stopped_twice_ends_with_the_same_bits(tmp_path: Path) -> None:
    dataset = generate_dataset(tmp_path / "data")
    uninterrupted_run, interrupted_run = (tmp_path / name for name in ("straight", "interrupted"))
    num_steps = 0
    for _ in range(2):
        assert (
            stop_stage(
                "train", *tiny_arguments(interrupted_run, dataset, *LONG_TRAINING), condition=lambda: True
            )
            == 75
        )
        record = newest_record(interrupted_run, "train")
        assert record["outcome"] == "interrupted"
        assert record["progress"]["start"] == num_steps < record["progress"]["done"] < 150
        num_steps = record["progress"]["done"]
    train_together(
        tmp_path / "runs.json",
        [tiny_arguments(folder, dataset, *LONG_TRAINING) for folder in (uninterrupted_run, interrupted_run)],
    )
    for name in ("model.safetensors", "log.csv"):
        content, expected = ((run / "models" / "fno" / name) for run in (interrupted_run, uninterrupted_run))
        assert content.read_bytes() == expected.read_bytes(), name


def test_a_stage_without_progress_to_save_ignores_the_signal(tmp_path: Path) -> None:
    require_success(run_drift("generate", tmp_path))
    assert "passed" in require_success(run_drift("validate", tmp_path, fault="signalled")).stdout


def stop_stage(name: str, *overrides: str, condition: Callable[[], bool]) -> int:
    """Send SIGUSR1 to mpirun once a stage on two ranks reports progress and `condition()` is true.

    Return the exit code of mpirun.
    """
    run = Path(next(option for option in overrides if option.startswith("run=")).removeprefix("run="))
    num_records_before = len(records_of(run, name))
    command = launching.mpi_command(2, "-m", f"pipeline.{name}", *overrides)
    with subprocess.Popen(command, env=launching.environment(), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 180
        while not (
            len(records_of(run, name)) > num_records_before
            and "progress" in newest_record(run, name)
            and condition()
        ):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGUSR1)
        return process.wait(60)


def newest_record(run: Path, name: str) -> dict[str, Any]:
    return records_of(run, name)[-1]


def records_of(run: Path, name: str) -> list[dict[str, Any]]:
    texts = [path.read_text() for path in sorted((run / "records").glob(f"{name}-*.json"))]
    return [json.loads(text) for text in texts if text]
