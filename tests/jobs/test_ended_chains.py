"""Chains and launchers that end: no process stays, and the message names the cause."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.jobs import local
from tests.support import launching

#: Options of a generation on two ranks that takes hours.
ENDLESS = (
    "launcher.ranks.generate=2",
    "solver.resolution=128",
    "output.steps=2",
    "samples.train=50000",
    "samples.per_shard=10",
)


@contextlib.contextmanager
def endless_chain(run: Path, has_started=None, **options):
    """Yield the process of a chain whose two ranks write shards, or for which `has_started` holds."""
    command = [sys.executable, "-m", "pipeline.chain", f"run={run}", *ENDLESS]
    with subprocess.Popen(
        command, env=launching.environment(), stdout=subprocess.DEVNULL, **options
    ) as process:
        wait_until(has_started or (lambda: len(list(run.glob("dataset/data/train/*"))) > 0), 90)
        yield process


def restore_reactions() -> None:
    """Restore the default reactions to signals that the background jobs of a shell ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the death signal is Linux's")
@pytest.mark.parametrize(
    ("sent_signal", "is_sent_to_group", "exit_code"),
    [
        pytest.param(signal.SIGKILL, False, -signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGHUP, False, -signal.SIGHUP, id="hangup"),
        pytest.param(signal.SIGINT, True, 130, id="Ctrl-C"),
    ],
)
def test_a_dead_chain_leaves_no_process(tmp_path, sent_signal, is_sent_to_group, exit_code):
    run = tmp_path / "endless"
    with endless_chain(
        run, start_new_session=True, preexec_fn=restore_reactions, stderr=subprocess.DEVNULL
    ) as process:
        # The two ranks write shards, so there are four processes: the chain, mpirun and the ranks.
        assert len(processes_of(run)) == 4
        if is_sent_to_group:
            os.killpg(process.pid, sent_signal)
        else:
            os.kill(process.pid, sent_signal)
        assert process.wait(30) == exit_code
    try:
        wait_until(lambda: not processes_of(run), 10)
    finally:
        for process_id in processes_of(run):
            os.kill(process_id, signal.SIGKILL)


def test_the_end_of_a_killed_stage_names_its_signal(tmp_path):
    assert str(local.StageFailedError("train", -signal.SIGKILL)) == "train was ended by SIGKILL"
    assert str(local.StageFailedError("train", 128 + signal.SIGTERM)) == "train was ended by SIGTERM"
    assert str(local.StageFailedError("train", 2)) == "train failed with exit code 2"


def test_a_stop_request_to_the_chain_stops_its_stage(tmp_path):
    run = tmp_path / "endless"
    with endless_chain(run, stderr=subprocess.PIPE, text=True) as process:
        process.send_signal(signal.SIGUSR1)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 75
    assert f"generate stopped on request. The record is {run}/records/generate-000.json." in stderr
    for stage in ("generate", "chain"):
        record = json.loads((run / "records" / f"{stage}-000.json").read_text())
        assert record["outcome"] == "interrupted"
        assert "traceback" not in record


def test_a_stop_request_to_a_starting_stage_waits_until_all_ranks_listen(tmp_path):
    run = tmp_path / "early"
    # The chain, mpirun and two ranks, which mpirun has just started.
    with endless_chain(
        run, lambda: len(processes_of(run)) == 4, stderr=subprocess.PIPE, text=True
    ) as process:
        process.send_signal(signal.SIGUSR1)
        _, stderr = process.communicate(timeout=90)
    assert process.returncode == 75, stderr
    assert json.loads((run / "records" / "generate-000.json").read_text())["outcome"] == "interrupted"


@pytest.mark.fault(
    "mpirun is killed",
    cause="SIGKILL to the mpirun of generate, in a chain",
    result="the chain ends and names the stage, the signal and the record; no rank stays",
    lost="the shards in work",
)
def test_a_chain_whose_mpirun_is_killed_names_the_signal(tmp_path):
    run = tmp_path / "endless"
    with endless_chain(run, stderr=subprocess.PIPE, text=True) as process:
        (launcher,) = (
            number
            for number in processes_of(run)
            if b"prterun" in (Path("/proc") / str(number) / "cmdline").read_bytes().split(b"\0")[0]
        )
        os.kill(launcher, signal.SIGKILL)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"generate was ended by SIGKILL. The record is {run}/records/generate-000.json." in stderr
    assert "mpi4py" not in stderr
    wait_until(lambda: not processes_of(run), 10)


def processes_of(run: Path) -> list[int]:
    """Return the ids of the live processes with the run folder in their command line."""
    process_ids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_alive = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
            if is_alive and f"run={run}".encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                process_ids.append(int(folder.name))
    return process_ids


def wait_until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition does not hold after {seconds} s"
        time.sleep(0.1)
