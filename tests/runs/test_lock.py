"""Locks of outputs: a second run with the same output exits with code 3 and names the first run."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.runs import heartbeat_lock, lock
from tests.support import launching
from tests.support.launching import require_success, run_stage

#: Options of a run that takes minutes.
LONG_GENERATION = ("solver.resolution=128", "output.steps=2", "samples.train=50000", "samples.per_shard=4")


@pytest.mark.parametrize(
    ("first_overrides", "second_overrides", "lock"),
    [
        ((), (), "generate-0-of-1.lock"),
        (("part=[1,2]",), ("part=[1,2]",), "generate-1-of-2.lock"),
        (("part=[0,2]",), (), "generate-0-of-2.lock"),
        (("part=[0,2]",), ("part=[1,3]",), "generate-0-of-2.lock"),
    ],
)
@pytest.mark.fault(
    "two jobs write one data set",
    cause="generate is started twice",
    result="the second run ends with exit code 3 and names the process that holds the lock",
    lost="nothing",
)
def test_a_second_run_that_writes_the_same_data_set_is_refused(
    tmp_path: Path, first_overrides: tuple[str, ...], second_overrides: tuple[str, ...], lock: str
) -> None:
    with running_generate(tmp_path, *first_overrides) as process:
        result = run_stage(
            "generate", f"run={tmp_path}", *LONG_GENERATION, *second_overrides, ranks=2, timeout=60
        )
        assert result.returncode == 3
        assert f"process {process.pid}, node " in result.stderr
        assert lock in result.stderr
        assert "Traceback" not in result.stderr
        assert process.poll() is None


@pytest.mark.fault(
    "a dead job left its lock",
    cause="SIGKILL to generate",
    result="the next run takes the lock over and names the dead process",
    lost="the shards in work",
)
def test_the_lock_of_a_dead_run_is_replaced_with_a_message(tmp_path: Path) -> None:
    overrides = ("solver.extent=[1.0]", "solver.resolution=24", "samples.train=4000", "samples.per_shard=1")
    with running_generate(tmp_path, *overrides) as process:
        process.kill()
        process.wait()
        next_run = subprocess.Popen(
            [sys.executable, "-m", "pipeline.generate", f"run={tmp_path}", *overrides],
            env=launching.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        with next_run:
            assert next_run.stdout is not None
            line = next_run.stdout.readline()
            next_run.terminate()
    assert f"took over {tmp_path}/dataset/locks/generate-0-of-1.lock, which process {process.pid}" in line


@pytest.mark.fault(
    "two jobs train one model",
    cause="train is started twice",
    result="the second run ends with exit code 3",
    lost="nothing",
)
def test_a_second_run_that_trains_the_same_model_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for name in ("generate", "validate"):
        require_success(run_stage(name, "experiment=smoke", f"run={run}"))
    overrides = ("experiment=smoke", f"run={run}", "training.steps=1000000", "training.device=cpu")
    command = [sys.executable, "-m", "pipeline.train", *overrides]
    with subprocess.Popen(command, env=launching.environment(), stdout=subprocess.DEVNULL) as first_process:
        try:
            wait_for(run / "locks" / "train-fno.holder.json")
            result = run_stage("train", *overrides, ranks=2, timeout=60)
        finally:
            first_process.kill()
    assert result.returncode == 3
    assert f"process {first_process.pid}, node " in result.stderr


def test_a_lock_that_stays_held_is_refused_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_LONGEST_WAIT", 0.2)
    path = tmp_path / "locks" / "manifest.lock"
    with (
        lock.wait_for(path),
        pytest.raises(lock.LockedError, match="another process has held"),
        lock.wait_for(path),
    ):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
@pytest.mark.fault(
    "a file system without flock",
    cause="flock fails with {number}",
    result="locks with heartbeats: one writer, a note, and the lock of a dead process is free",
    lost="nothing",
)
def test_locks_work_without_flock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    monkeypatch.setattr(lock, "_LONGEST_WAIT", 0.1)
    path = tmp_path / "locks" / "train-fno.lock"
    for expected_number in (1, 2):
        with lock.hold(path):
            assert [file.suffix for file in path.parent.glob("*.lock.*")] == [f".{expected_number:06d}"]
            with (
                pytest.raises(
                    lock.LockedError, match=f"process {os.getpid()}, node .* writes the same output"
                ),
                lock.hold(path),
            ):
                pass
            with pytest.raises(lock.LockedError, match="has held"), lock.wait_for(path):
                pass
    assert capsys.readouterr().err.count("has no flock") == 1
    child = os.fork()
    if child == 0:
        with lock.wait_for(path):
            os._exit(0)  # The process dies with the lock.
    os.waitpid(child, 0)
    (file,) = path.parent.glob("*.lock.*")
    assert json.loads(file.read_text())["process"] == child
    with lock.wait_for(path):
        pass
    # A process on another node lives as long as it touches its file.
    file = path.with_name(f"{path.name}.000009")
    file.write_text(json.dumps({"host": "elsewhere", "boot": "b", "process": 1, "process_start": "1"}))
    with pytest.raises(lock.LockedError), lock.wait_for(path):
        pass
    silence_start = time.time() - heartbeat_lock.SILENCE_SECONDS - 1
    os.utime(file, (silence_start, silence_start))
    with lock.hold(path):
        assert not file.exists()


def test_a_process_whose_lock_was_taken_over_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_lock, "_TOUCH_SECONDS", 0.05)
    child = os.fork()
    if child == 0:
        file = heartbeat_lock.take(tmp_path / "train.lock", 0o644)
        assert file is not None
        with heartbeat_lock.keep(file):
            file.unlink()
            time.sleep(30)
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM


@contextmanager
def running_generate(run: Path, *overrides: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the process of a generate stage that holds its lock."""
    command = [sys.executable, "-m", "pipeline.generate", f"run={run}", *LONG_GENERATION, *overrides]
    with subprocess.Popen(command, env=launching.environment(), stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(run / "dataset" / "locks", "generate-*.holder.json")
            yield process
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)


def wait_for(path: Path, pattern: str = "") -> None:
    deadline = time.monotonic() + 60
    while not (list(path.glob(pattern)) if pattern else path.exists()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_requeued_job_waits_for_the_lock_of_its_former_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "locks" / "train.lock"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with lock.hold(path), pytest.raises(lock.LockedError), lock.hold(path):
        pass
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    taken_over, output = threading.Event(), ""

    def take_over() -> None:
        with lock.hold(path):
            taken_over.set()

    waiting = threading.Thread(target=take_over)
    with lock.hold(path):
        waiting.start()
        deadline = time.monotonic() + 20
        while "Waiting up to" not in output and time.monotonic() < deadline:
            output += capsys.readouterr().out
            time.sleep(0.01)
        assert "the former run of this requeued job, still holds" in output
        assert not taken_over.is_set()
    waiting.join(20)
    assert taken_over.is_set()
