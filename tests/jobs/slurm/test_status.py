"""The display of chains: how each job ended, also after Slurm forgot the job, and for other users."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.jobs.slurm.chains import (
    CANCELLED_TASK,
    LATER,
    SMOKE,
    final_states,
    job_numbers,
    run_chain,
    states,
)
from tests.jobs.slurm.cluster import Cluster
from tests.support.launching import require_success

pytestmark = pytest.mark.usefixtures("forked_stages")
SLURM = "launcher=slurm"
OUT_OF_MEMORY, TIME_LIMIT, ERROR = (
    "out of memory. Request more memory",
    "the time limit ended the job. Request more time",
    "the module openmpi/9.9 does not exist",
)

#: The keys of a job in the output of `status --json`.
KEYS = [
    "name",
    "stage",
    "task",
    "slurm_job",
    "state",
    "reason",
    "elapsed_seconds",
    "limit_seconds",
    "restarts",
    "retries",
    "warning",
    "core_hours",
    "energy_joules",
    "expected_start",
    "log",
]


def reasons(cluster: Cluster, run: Path) -> dict[int, str]:
    """Return the reasons of failed tasks of generate by number, as a program reads the status."""
    content = json.loads(require_success(run_chain(cluster, run, "status", "--json")).stdout)
    jobs = content["jobs"]
    assert content["schema"] == 2, "a changed key needs a new number, and a change of docs/cluster.md"
    assert list(jobs[0]) == KEYS
    assert content["state"] == "failed"
    assert content["owner"] == "root"
    assert [job["name"] for job in jobs] == ["generate"] * 6 + ["finish", "validate", "train", "evaluate"]
    assert jobs[2]["slurm_job"] == f"{job_numbers(run)['generate']}_2"
    for job in jobs[CANCELLED_TASK:]:
        assert (job["state"], job["reason"]) in [
            ("cancelled", "before it started"),
            ("cancelled", "the job before it failed"),
        ]
        assert job["log"] is None
    assert all(Path(job["log"]).is_file() for job in jobs[:CANCELLED_TASK])
    return {job["task"]: job["reason"] for job in jobs if job["state"] == "failed"}


@pytest.mark.fault(
    "Slurm forgets a failed job",
    cause="MinJobAge passes after a time-out, out of memory, an error, a kill and a cancelled task",
    result="status still names each end",
    lost="nothing",
)
def test_the_end_of_each_task_is_named_also_after_slurm_forgot_the_job(
    cluster: Cluster,
    ending_chain: tuple[Path, Future[subprocess.CompletedProcess[str]]] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ending_chain
    run, watch = ending_chain
    number = job_numbers(run)["generate"]
    lines = require_success(watch.result()).stdout.splitlines()
    assert lines[-1].endswith("chain failed")
    assert any(line.endswith(f"generate[0] {number}_0 failed ({OUT_OF_MEMORY})") for line in lines)
    result = run_chain(cluster, run, "wait")
    assert result.returncode == 1
    log = run / "jobs" / "logs" / f"generate-{number}_1.out"
    assert f"generate[1] failed: {TIME_LIMIT}\n  its log: {log}\n" in result.stdout
    assert f"generate[{CANCELLED_TASK}] failed" not in result.stdout
    named_reasons = {
        0: OUT_OF_MEMORY,
        1: TIME_LIMIT,
        2: ERROR,
        3: "killed (SIGKILL). The usual cause is too little memory: request more memory",
        4: "ended without completing generate",
    }
    assert reasons(cluster, run) == named_reasons
    cluster.forget_ended_jobs()
    assert reasons(cluster, run) == named_reasons, "from the accounting"
    # Without accounting, the logs remain.
    configuration = tmp_path / "slurm.conf"
    text = (cluster.folder / "slurm.conf").read_text()
    configuration.write_text(re.sub(r"(?m)^Accounting.*\n", "", text))
    environment = cluster.environment() | {"SLURM_CONF": str(configuration)}
    monkeypatch.setattr(cluster, "environment", lambda user: environment)
    unstarted = "ended before generate began. The log may contain the reason"
    assert reasons(cluster, run) == {0: OUT_OF_MEMORY, 1: TIME_LIMIT, 2: ERROR, 3: unstarted, 4: unstarted}
    assert run_chain(cluster, run, "wait").returncode == 1


@pytest.mark.fault(
    "a colleague looks at a chain",
    cause="another user types cancel, and status where Slurm hides the jobs",
    result="the refusal of Slurm, and the owner's name; no advice to resume a healthy chain",
    lost="nothing",
)
def test_a_colleague_gets_the_refusal_of_slurm_and_the_name_of_the_owner(
    cluster: Cluster, ada_folder: Path
) -> None:
    run = ada_folder / "run"
    overrides = (SMOKE, SLURM, LATER, "+launcher.sbatch.all.account=science")
    require_success(run_chain(cluster, run, *overrides, user="ada"))
    status_text = require_success(run_chain(cluster, run, "status", user="grace")).stdout
    assert "pending" in status_text
    result = run_chain(cluster, run, "cancel", user="grace")
    assert result.returncode == 2
    assert "error: Slurm refused to cancel jobs of ada: " in result.stderr
    assert "Access/permission denied" in result.stderr
    assert set(states(cluster, run).values()) == {"PENDING"}
    with cluster.options(PrivateData="jobs"):
        status_text = require_success(run_chain(cluster, run, "status", user="grace")).stdout
        assert status_text.count("unknown") >= len(job_numbers(run))
        assert "Slurm shows the jobs to ada only. Ask ada for their state" in status_text
        assert "resume" not in status_text
        result = run_chain(cluster, run, "wait", user="grace")
        assert result.returncode == 2
        assert "Type `wait` as ada" in result.stderr
    assert "cancelled: " in require_success(run_chain(cluster, run, "cancel")).stdout
    final_states(cluster, run, 60)
