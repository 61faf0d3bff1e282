"""One data set, several models and seeds: failed jobs start again; one table and one mail show the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.slurm.chains import (
    SMOKE,
    batch_script,
    final_states,
    job_numbers,
    logs,
    records,
    run_chain,
    states,
    submitted_jobs,
    wait_for_mails,
)
from tests.jobs.slurm.cluster import Cluster, wait_until
from tests.support.launching import require_success

pytestmark = pytest.mark.usefixtures("forked_stages")
FAILING_STATE = f"surrogate.path={Path(__file__).parents[1] / 'failing_state.py'}"
SHORT_TRAINING = ("training.steps=20", "training.checkpoint_every=5", "training.validate_every=10")
SITE = """\
defaults: [slurm, _self_]
ranks: {{validate: 1}}
setup: [unset SIMSURROGATE_CONFIG_DIR SIMSURROGATE_LAUNCHER]
mpirun: {{generate: [{mpirun}]}}
retries: 1
mail: me@site.org
"""
SHARED = ["generate", "finish", "validate"]


def status_of(cluster: Cluster, run: Path) -> dict[str, Any]:
    """Return the jobs in the output of `status --json` by name; array tasks as NAME-TASK."""
    content = json.loads(require_success(run_chain(cluster, run, "status", "--json")).stdout)
    jobs = {f"{job['name']}{'' if job['task'] is None else job['task']}": job for job in content["jobs"]}
    return jobs | {"chain": content}


def wait_for_restart(cluster: Cluster, job: int | str) -> None:
    """Wait until a job that has failed once is back in the queue."""

    def is_requeued() -> bool:
        properties = cluster.job(job)
        return (properties["JobState"], properties["Restarts"]) == ("PENDING", "1")

    wait_until(is_requeued, 120, lambda: f"{cluster.job(job)}\n{cluster.log(job)}")


@pytest.mark.parametrize(("num_factors", "num_seeds"), [(2, 1), pytest.param(4, 2, marks=pytest.mark.soak)])
@pytest.mark.fault(
    "jobs of a sweep fail once",
    cause="exit code 1 in one task; SIGKILL and an exception in two of {num_factors} x {num_seeds} trainings",
    result="launcher.retries starts these jobs again, and the jobs after them keep waiting",
    lost="the steps after the checkpoint",
)
def test_failed_jobs_of_a_sweep_start_again(
    num_factors: int,
    num_seeds: int,
    cluster: Cluster,
    mails: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factors = [f"0.{number + 1}" for number in range(num_factors)]
    seeds = [str(number + 1) for number in range(num_seeds)]
    models = [
        f"failing_state-factor-{factor}" + (f"-seed-{seed}" if num_seeds > 1 else "")
        for factor in factors
        for seed in seeds
    ]
    killed, raising = models[0], models[-1]
    run, failures, mpirun = tmp_path / "run", tmp_path / "failures", tmp_path / "mpirun"
    failures.mkdir()
    (failures / killed).write_text("kill")
    (failures / raising).write_text("raise")
    # Task 1 of generate fails once.
    mpirun.write_text(
        '#!/bin/sh\n[ "$SLURM_ARRAY_TASK_ID$SLURM_RESTART_COUNT" != 1 ] || exit 1\nexec mpirun "$@"\n'
    )
    mpirun.chmod(0o755)
    (tmp_path / "site" / "launcher").mkdir(parents=True)
    (tmp_path / "site" / "launcher" / "site.yaml").write_text(SITE.format(mpirun=mpirun))
    monkeypatch.setenv("SIMSURROGATE_CONFIG_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("SIMSURROGATE_LAUNCHER", "site")
    sweep = (
        *("--multirun", SMOKE, FAILING_STATE, f"surrogate.failures={failures}", *SHORT_TRAINING),
        *(
            f"surrogate.factor={','.join(factors)}",
            f"training.seed={','.join(seeds)}",
            "evaluation.figures=0",
        ),
    )
    output = require_success(run_chain(cluster, run, *sweep)).stdout
    names = [*SHARED, *(f"{stage}-{model}" for model in models for stage in ("train", "evaluate"))]
    assert [job["name"] for job in submitted_jobs(run)] == names
    assert output.count("submitted ") == 1
    numbers = job_numbers(run)
    task = f"{numbers['generate']}_1"
    wait_for_restart(cluster, task)
    assert cluster.job(f"{numbers['generate']}_0")["Restarts"] == "0", "only the failed task starts again"
    assert states(cluster, run)["finish"] == "PENDING"
    cluster.start_soon(task)
    wait_until(lambda: not list(failures.iterdir()), 150, lambda: logs(run))
    for model in (killed, raising):
        wait_for_restart(cluster, numbers[f"train-{model}"])
    cluster.start_soon(numbers[f"train-{killed}"])

    def is_only_one_missing() -> bool:
        live = [name for name, state in states(cluster, run).items() if state != "COMPLETED"]
        return sorted(live) == sorted([f"train-{raising}", f"evaluate-{raising}"])

    wait_until(is_only_one_missing, 150, lambda: f"{states(cluster, run)}\n{logs(run)}")
    jobs = status_of(cluster, run)
    retries = {name: job["retries"] for name, job in jobs.items() if job.get("retries")}
    assert retries == {"generate1": 1, f"train-{killed}": 1, f"train-{raising}": 1}
    assert mails.read_text() == ""
    require_success(run_chain(cluster, run, "cancel"))
    (mail,) = wait_for_mails(mails, 1)
    assert "report-run" in mail
    assert mail.endswith("to me@site.org")
    # Only the two missing jobs are submitted. The chain does not need the site's variables any more.
    monkeypatch.delenv("SIMSURROGATE_CONFIG_DIR")
    monkeypatch.delenv("SIMSURROGATE_LAUNCHER")
    output = require_success(run_chain(cluster, run, "resume")).stdout
    assert [job["name"] for job in submitted_jobs(run)[len(names) :]] == [
        f"train-{raising}",
        f"evaluate-{raising}",
    ]
    assert set(final_states(cluster, run).values()) == {"COMPLETED"}, logs(run)
    assert len(wait_for_mails(mails, 2)) == 2
    assert [record["outcome"] for record in records(run, "generate")].count("complete") == 3
    assert len(records(run, "validate")) == 1
    attempts = [record for record in records(run, "train") if record["configuration"]["model"] == raising]
    assert [record["outcome"] for record in attempts] == ["failed", "complete"]
    assert attempts[1]["progress"]["start"] > 0, "the training continues from its checkpoint"
    lines = require_success(run_chain(cluster, run, "status")).stdout.splitlines()
    header = next(index for index, line in enumerate(lines) if line.startswith("model "))
    rows = [line.split() for line in lines[header + 1 : header + 1 + len(models)]]
    assert [(row[0], row[1], row[2], row[3]) for row in rows] == [
        (model, seed, "done", "done") for model, seed in zip(models, len(factors) * seeds, strict=True)
    ]
    assert all(row[-1] == f"models/{row[0]}/evaluation/report.html" for row in rows)
    assert all(row[5] == "%" and float(row[4]) > 0 for row in rows), rows
    jobs = status_of(cluster, run)
    assert jobs["chain"]["core_hours"] >= jobs[f"train-{killed}"]["core_hours"] > 0
    assert jobs["chain"]["energy_joules"] is None


def test_a_job_fails_after_its_retries_and_where_requeueing_is_forbidden(
    cluster: Cluster, validated_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "fail").write_text("always")
    arguments = (
        *(SMOKE, f"dataset={validated_data}/dataset", FAILING_STATE, f"surrogate.failures={tmp_path}"),
        *(*SHORT_TRAINING, "++launcher.retries=1", "model=fail"),
    )
    again, forbidden = (
        cluster.sbatch(
            option,
            f"--output={tmp_path}/%j.txt",
            str(batch_script("train")),
            *arguments,
            f"run={tmp_path}/{name}",
        )
        for option, name in (("--requeue", "again"), ("--no-requeue", "forbidden"))
    )
    job = cluster.wait(forbidden)
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "1:0", "0"), cluster.log(
        forbidden
    )
    assert "launcher.retries=1 has no effect on this job" in cluster.log(forbidden)
    wait_for_restart(cluster, again)
    cluster.start_soon(again)
    job = cluster.wait(again)
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "1:0", "1"), cluster.log(again)
    assert "train failed after 1 retries: launcher.retries=1" in cluster.log(again)
    assert (tmp_path / "again" / "jobs" / "retries" / str(again)).read_text() == "1"
