"""Ranks that hang: all ranks end in bounded time, and the message names the silent rank."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.driving import run_drift, run_drift_in_process
from tests.support.launching import mpi_command, require_success, run

#: Two ranks; rank 1 comes later than the time-out, and holds the interpreter lock in the meantime.
BUSY_RANK = """
import ctypes, sys, time
from datetime import timedelta
from pipeline.parallel import groups, heartbeats, launch
heartbeats.TIMEOUT = timedelta(seconds=1)
world = launch.world()
start = time.process_time()
with heartbeats.watch(world):
    if world.rank == 1:
        ctypes.PyDLL(None).sleep(4)
    groups.wait_for_ranks(world)
if world.rank == 0:
    print(f"{time.process_time() - start:.3f}")
"""


@pytest.mark.parametrize(
    ("stage", "group_size", "lost"),
    [
        ("generate", 1, "the shards in work"),
        ("generate", 2, "the shards in work"),
        ("validate", 1, "the checks in work"),
    ],
)
@pytest.mark.fault(
    "a rank hangs in {stage}, in groups of {group_size}",
    cause="SIGSTOP to rank 1 of 2",
    result="all ranks end; the message names the silent rank",
    lost="{lost}",
)
def test_a_stopped_rank_ends_all_ranks_by_name(
    stage: str, group_size: int, lost: str, tmp_path: Path
) -> None:
    if stage == "validate":
        run_drift_in_process("generate", tmp_path)
    start = time.monotonic()
    result = run_drift(stage, tmp_path, f"group_size={group_size}", fault="stops:1:2:2", ranks=2)
    assert time.monotonic() - start < 60
    assert result.returncode != 0
    assert "[rank 0 of 2] error: rank 1 (process " in result.stderr
    assert "has been silent for 0:00:02. All ranks must run." in result.stderr


def test_a_busy_rank_is_not_ended_and_a_waiting_rank_sleeps() -> None:
    result = require_success(run(mpi_command(2, "-c", BUSY_RANK), timeout=60))
    assert float(result.stdout) < 1.5
