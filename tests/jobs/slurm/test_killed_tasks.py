"""Two of four tasks of a job array are killed: only these tasks run again, and the data set is the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.faults.driving import made
from tests.jobs.slurm.chains import (
    JOBS,
    SLOW,
    SLOW_SAMPLES,
    chain,
    final_states,
    job_numbers,
    logs,
    records,
    states,
    submitted_jobs,
)
from tests.jobs.slurm.cluster import Cluster, wait_until
from tests.support.launching import succeeded


def ranks_of(run: Path, task: int) -> list[int]:
    """Return the ids of the processes that compute a task's part of a run."""
    process_ids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "python" in words[0] and f"part=[{task},4]" in words and f'run="{run}"' in words:
            process_ids.append(int(folder.name))
    return process_ids


def test_only_killed_tasks_run_again(cluster: Cluster, slow_data: Path, tmp_path: Path) -> None:
    """Task 1 loses a rank, task 2 all of its ranks; tasks 0 and 3 complete."""
    run = tmp_path / "run"
    succeeded(chain(cluster, run, *SLOW, *SLOW_SAMPLES, "launcher=slurm", "launcher.parts=4"))
    for task in (1, 2):
        partial_shard = run / "dataset" / "data" / "train" / f".train-{task:05d}.hdf5.partial"
        wait_until(partial_shard.exists, 90, lambda: logs(run))
        ranks = ranks_of(run, task)
        assert len(ranks) == 2
        for process_id in ranks[:task]:
            os.kill(process_id, signal.SIGKILL)
    states_by_name = final_states(cluster, run)
    assert {task: states_by_name.pop(f"generate_{task}") for task in range(4)} == {
        0: "COMPLETED",
        1: "FAILED",
        2: "FAILED",
        3: "COMPLETED",
    }
    assert set(states_by_name.values()) == {"CANCELLED"}
    status = succeeded(chain(cluster, run, "status")).stdout
    assert "2 done, 2 failed" in status
    assert "generate[1] failed" in status
    assert "generate[2] failed" in status
    shards = {receipt.stem for receipt in (run / "dataset" / "receipts").glob("*.json")}
    assert len(shards) >= 6, "the tasks that were not killed have written their shards"
    paths = [path for path in (run / "dataset" / "data").rglob("*.hdf5") if path.stem in shards]
    untouched = {path: path.stat().st_mtime_ns for path in paths}
    succeeded(chain(cluster, run, "resume"))
    assert [(job["name"], job["tasks"]) for job in submitted_jobs(run)[len(JOBS) :]] == [
        ("generate", [1, 2]),
        *((name, []) for name in JOBS[1:]),
    ]
    cluster.succeeded(job_numbers(run)["finish"])
    assert made(run) == made(slow_data)
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    tasks = [record["slurm"].get("array_task", "finish") for record in records(run, "generate")]
    assert sorted(tasks) == ["0", "1", "1", "2", "2", "3", "finish"]
    succeeded(chain(cluster, run, "cancel"))
    assert "PENDING" not in states(cluster, run).values()
