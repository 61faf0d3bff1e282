"""Chains of jobs on both nodes: from one command to the report, after failures and after cancellation."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.runs import lock
from tests.jobs.slurm.chains import (
    JOBS,
    SLOW_GENERATION,
    SMOKE,
    final_states,
    job_numbers,
    logs,
    records,
    run_chain,
    run_override,
    submitted_jobs,
    wait_for_mails,
)
from tests.jobs.slurm.cluster import Cluster, wait_until
from tests.support.launching import require_success

pytestmark = pytest.mark.usefixtures("forked_stages")
SLURM = "launcher=slurm"


def test_a_wrong_configuration_is_refused_before_a_job_is_submitted(cluster: Cluster, tmp_path: Path) -> None:
    jobs_before = cluster.jobs().keys()
    result = run_chain(cluster, tmp_path / "run", SMOKE, SLURM, "training.stepz=3")
    assert result.returncode == 2
    assert "did you mean 'training.steps'?" in result.stderr
    assert cluster.jobs().keys() == jobs_before
    assert not (tmp_path / "run").exists()


def test_a_refusal_by_slurm_is_printed(cluster: Cluster, tmp_path: Path) -> None:
    result = run_chain(cluster, tmp_path / "run", SMOKE, SLURM, "+launcher.sbatch.all.partition=nowhere")
    assert result.returncode == 2
    assert "invalid partition specified: nowhere" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("override", "job", "message"),
    [
        ("+launcher.sbatch.train.patition=other", "train", "unrecognized option '--patition=other'"),
        (
            "+launcher.sbatch.evaluate={partition: short, time: '02:00:00'}",
            "evaluate",
            "is longer than the limit 01:00:00 of the partition short",
        ),
        (
            "+launcher.sbatch.finish.cpus-per-task=64",
            "finish",
            "Requested node configuration is not available",
        ),
        ("launcher.parts=17", "generate", "MaxArraySize=16"),
    ],
)
def test_a_job_that_slurm_refuses_is_named_before_any_job_is_submitted(
    cluster: Cluster, tmp_path: Path, override: str, job: str, message: str
) -> None:
    jobs_before = cluster.jobs().keys()
    arguments = (SMOKE, SLURM, override)
    for command in ((), ("check",)):
        result = run_chain(cluster, tmp_path / "run", *command, *arguments)
        assert result.returncode == 2
        assert f"{job}: " in result.stderr
        assert message in result.stderr
        assert "no job was submitted" in result.stderr
        assert cluster.jobs().keys() == jobs_before
        assert not (tmp_path / "run").exists()


def test_a_check_accepts_jobs_that_wait_for_drained_nodes(cluster: Cluster, tmp_path: Path) -> None:
    drain_command = ["scontrol", "update", "nodename=n1,n2", "reason=test"]
    require_success(cluster.run([*drain_command, "state=drain"]))
    try:
        result = require_success(run_chain(cluster, tmp_path / "a run", "check", SMOKE, SLURM))
    finally:
        require_success(cluster.run([*drain_command, "state=resume"]))
        test_command = ["sbatch", "--test-only", "--nodes=2", "--wrap=true"]
        wait_until(lambda: cluster.run(test_command).returncode == 0, 30, lambda: "no node is available")
    assert "note: train: Requested node configuration is not available now. " in result.stderr
    assert "These nodes are not available: n[1-2]. " in result.stderr
    last_line = result.stdout.splitlines()[-1]
    assert last_line.startswith(
        "checked: no stage refuses this configuration. Next: python -m pipeline.chain "
    )
    assert not (tmp_path / "a run").exists()


@pytest.mark.fault(
    "a stage of a chain of jobs fails",
    cause="one of three tasks finds its lock taken",
    result="later jobs are cancelled; status names task and reason; resume runs what is missing",
    lost="nothing",
)
def test_later_jobs_wait_until_a_failed_task_is_resumed(
    cluster: Cluster, mails: Path, tmp_path: Path
) -> None:
    # Another process holds the lock of one of three tasks.
    run = tmp_path / "run"
    with lock.hold(run / "dataset" / "locks" / "generate-1-of-3.lock"):
        require_success(
            run_chain(cluster, run, SMOKE, SLURM, "launcher.parts=3", "launcher.mail=me@site.org")
        )
        states_after = final_states(cluster, run)
    assert states_after.pop("generate_1") == "FAILED"
    assert {states_after.pop(f"generate_{task}") for task in (0, 2)} == {"COMPLETED"}
    assert set(states_after.values()) <= {"CANCELLED"}, "later jobs must not wait forever for the failed task"
    assert not records(run, "validate")
    status_text = require_success(run_chain(cluster, run, "status")).stdout
    (message,) = [line for line in status_text.splitlines() if line.startswith("generate[1] failed")]
    assert "writes the same output already" in message
    log = run / "jobs" / "logs" / f"generate-{job_numbers(run)['generate']}_1.out"
    assert f"its log: {log}" in status_text
    assert "writes the same output already" in log.read_text()
    assert f"python -m pipeline.chain resume run={run}" in status_text
    (mail,) = wait_for_mails(mails, 1)
    assert "Name=report-run Failed" in mail
    dry_run_output = require_success(run_chain(cluster, run, "resume", "dry_run=true")).stdout
    assert "--array=1 " in dry_run_output
    assert len(submitted_jobs(run)) == 5
    require_success(run_chain(cluster, run, "resume"))
    assert [(job["name"], job["tasks"]) for job in submitted_jobs(run)[5:]] == [
        ("generate", [1]),
        *((name, []) for name in JOBS[1:]),
    ]
    assert set(final_states(cluster, run).values()) == {"COMPLETED"}, logs(run)
    assert (run / "models" / "fno" / "evaluation" / "report.html").is_file()
    assert "Name=report-run Ended" in wait_for_mails(mails, 2)[1]
    assert len(mails.read_text().splitlines()) == 2


def test_a_second_chain_is_refused_and_a_cancelled_chain_leaves_no_job(
    cluster: Cluster, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    overrides = (*SLOW_GENERATION, SLURM, "samples.train=1000")
    require_success(run_chain(cluster, run, *overrides))
    task = f"{job_numbers(run)['generate']}_0"

    def status_text() -> str:
        return require_success(run_chain(cluster, run, "status")).stdout

    progress_pattern = re.compile(r"running +[1-9]\d* of 502 trajectories \(\d+%\)")
    wait_until(
        lambda: progress_pattern.search(status_text()) is not None, 60, lambda: status_text() + logs(run)
    )
    assert "2 running" in status_text()
    second_result = run_chain(cluster, run, *overrides)
    assert second_result.returncode == 2
    assert f"{task}" in second_result.stderr
    assert "the queue holds jobs of" in second_result.stderr
    assert task in require_success(run_chain(cluster, run, "cancel")).stdout
    assert set(final_states(cluster, run, 60).values()) == {"CANCELLED"}
    assert "2 cancelled" in status_text()


def test_a_sweep_submits_a_chain_for_each_run(cluster: Cluster, tmp_path: Path) -> None:
    runs = [tmp_path / str(seed) for seed in (1, 2)]
    overrides = ["--multirun", SMOKE, SLURM, "launcher.parts=1", "seed=1,2", f"run={tmp_path}/${{seed}}"]
    require_success(cluster.run(["python", "-m", "pipeline.chain", *overrides], timeout=120, cwd=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    for run in runs:
        names = [job["name"].removesuffix(f"-fno-seed-{run.name}") for job in submitted_jobs(run)]
        assert names == ["generate", *JOBS[2:]]
        require_success(cluster.run(["python", "-m", "pipeline.chain", "cancel", run_override(run)]))
        final_states(cluster, run, 60)


def recorded_commands(
    cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[str]]:
    """Return a function that reads the calls of sbatch and scontrol on the login node from now on."""
    calls = folder / "calls"
    for name in ("sbatch", "scontrol"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {calls}\nexec {shutil.which(name)} "$@"\n')
        program.chmod(0o755)
    environment = cluster.environment()
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    monkeypatch.setattr(cluster, "environment", lambda user="root": environment)
    return lambda: calls.read_text().splitlines()


def test_the_models_of_a_sweep_share_one_data_set(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "a run"
    calls = recorded_commands(cluster, tmp_path, monkeypatch)
    shared_names = ["generate", "validate"]
    model_names = [f"{stage}-{model}" for model in ("fno", "unet") for stage in ("train", "evaluate")]
    sweep = ("--multirun", SMOKE, SLURM, "launcher.parts=1", "surrogate=fno,unet", "evaluation.figures=0")
    waiting = "+launcher.sbatch.generate.begin=now+1hour"
    output = require_success(run_chain(cluster, run, *sweep, waiting)).stdout
    assert "job 2 of 2: surrogate=unet" in output
    assert [job["name"] for job in submitted_jobs(run)] == [*shared_names, *model_names]
    # Slurm checks each job once, and lists its partitions once.
    assert len([call for call in calls() if "--test-only" in call]) == len([*shared_names, *model_names])
    assert len([call for call in calls() if "show partition" in call]) == 1
    second_result = run_chain(cluster, run, *sweep, waiting)
    assert second_result.returncode == 2
    assert "the queue holds jobs of" in second_result.stderr
    validate, *trainings = [job_numbers(run)[name] for name in ("validate", "train-fno", "train-unet")]
    for training in trainings:
        assert cluster.job(training)["Dependency"].startswith(f"afterok:{validate}")
    # One resumption submits all jobs again.
    require_success(run_chain(cluster, run, "cancel"))
    require_success(run_chain(cluster, run, "resume"))
    assert [job["name"] for job in submitted_jobs(run)] == 2 * [*shared_names, *model_names]
    require_success(run_chain(cluster, run, "cancel"))
    status_text = require_success(run_chain(cluster, run, "status")).stdout
    for model in ("fno", "unet"):
        assert re.search(rf"(?m)^{model} +cancelled +cancelled *$", status_text), status_text
    final_states(cluster, run, 60)
