"""Killed tasks of a job array: only the killed tasks run again, and the data set is the same."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.faults.driving import read_generated
from tests.jobs.slurm.chains import (
    JOBS,
    SLOW_GENERATION,
    SLOW_SAMPLES,
    final_states,
    job_numbers,
    logs,
    records,
    run_chain,
    states,
    submitted_jobs,
)
from tests.jobs.slurm.cluster import Cluster, wait_until
from tests.support.launching import require_success

pytestmark = pytest.mark.usefixtures("forked_stages")


def ranks_of(run: Path, task: int) -> list[int]:
    """Return the ids of the processes that Slurm's node starts as the ranks of a task."""
    process_ids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "python" in arguments[0] and f"part=[{task},4]" in arguments and f'run="{run}"' in arguments:
            process_ids.append(int(folder.name))
    return process_ids


def has_file(folder: Path, pattern: str) -> bool:
    return any(folder.glob(pattern))


def kill_computing_tasks(run: Path, tasks: set[int]) -> bool:
    """Kill as many ranks of each task that writes a shard as its number; return whether all are killed.

    The tasks compute at the same time, for a second. Killed tasks are removed from `tasks`.
    """
    for task in sorted(tasks):
        shards = (f".train-{shard:05d}.hdf5.*.partial" for shard in (task, task + 4))
        if any(has_file(run / "dataset" / "data" / "train", name) for name in shards):
            process_ids = ranks_of(run, task)
            assert len(process_ids) == 2
            for process_id in process_ids[:task]:
                os.kill(process_id, signal.SIGKILL)
            tasks.remove(task)
    return not tasks


@pytest.mark.fault(
    "tasks of a job array fail",
    cause="SIGKILL to one rank of task 1 and to all ranks of task 2 of 4",
    result="only these tasks run again; finished shards stay; the same bytes",
    lost="the shards in work",
)
def test_only_killed_tasks_run_again(cluster: Cluster, slow_data: Path, tmp_path: Path) -> None:
    # Task 1 loses one rank and task 2 loses all ranks. Tasks 0 and 3 complete.
    run = tmp_path / "run"
    require_success(
        run_chain(cluster, run, *SLOW_GENERATION, *SLOW_SAMPLES, "launcher=slurm", "launcher.parts=4")
    )
    wait_until(partial(kill_computing_tasks, run, {1, 2}), 90, lambda: logs(run))
    states_by_name = final_states(cluster, run)
    assert {task: states_by_name.pop(f"generate_{task}") for task in range(4)} == {
        0: "COMPLETED",
        1: "FAILED",
        2: "FAILED",
        3: "COMPLETED",
    }
    assert set(states_by_name.values()) == {"CANCELLED"}
    status = require_success(run_chain(cluster, run, "status")).stdout
    assert "2 done, 2 failed" in status
    assert "generate[1] failed" in status
    assert "generate[2] failed" in status
    shards = {receipt.stem for receipt in (run / "dataset" / "receipts").glob("*.json")}
    assert len(shards) >= 6, "the tasks that were not killed have written their shards"
    paths = [path for path in (run / "dataset" / "data").rglob("*.hdf5") if path.stem in shards]
    times_before = {path: path.stat().st_mtime_ns for path in paths}
    require_success(run_chain(cluster, run, "resume"))
    assert [(job["name"], job["tasks"]) for job in submitted_jobs(run)[len(JOBS) :]] == [
        ("generate", [1, 2]),
        *((name, []) for name in JOBS[1:]),
    ]
    cluster.require_completion(job_numbers(run)["finish"])
    assert read_generated(run) == read_generated(slow_data)
    assert {path: path.stat().st_mtime_ns for path in times_before} == times_before
    tasks = [record["slurm"].get("array_task", "finish") for record in records(run, "generate")]
    assert sorted(tasks) == ["0", "1", "1", "2", "2", "3", "finish"]
    require_success(run_chain(cluster, run, "cancel"))
    assert "PENDING" not in states(cluster, run).values()
