"""Jobs whose launcher lies, whose nodes are lost, and that start other jobs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from pathlib import Path

import pytest

from tests.jobs.slurm.chains import (
    RANK_ON_EACH_NODE,
    SLOW_GENERATION,
    SMOKE,
    batch_script,
    job_numbers,
    logs,
    records,
    run_chain,
)
from tests.jobs.slurm.cluster import Cluster, wait_until
from tests.support.launching import require_success

#: Beginnings of the names of variables that belong to one job.
JOB_PREFIXES = ("SLURM_ARRAY_", "SLURM_STEP_", "SLURM_SRUN_", "SRUN_", "PMI_", "PMIX_", "OMPI_", "PRTE_")

ONE_JOB_WITH_VARIABLES = ("launcher=slurm", "launcher.parts=1", "launcher.setup=[env]")


@pytest.mark.fault(
    "a launcher ends with exit code 0 before its stage is complete",
    cause="launcher.mpirun=[/bin/true]; no mpirun in the job",
    result="the job fails and names launcher.mpirun",
    lost="nothing",
)
@pytest.mark.usefixtures("forked_stages")
def test_a_job_whose_launcher_starts_no_rank_fails(cluster: Cluster, tmp_path: Path) -> None:
    messages = {
        "/bin/true": "train is not complete: it has no run record",
        "nowhere": "nowhere was not found",
    }
    job_numbers = [
        cluster.sbatch(
            "--ntasks=2",
            f"--output={tmp_path}/%j.txt",
            str(batch_script("train")),
            SMOKE,
            f"launcher.mpirun=[{program}]",
            f"run={tmp_path}/run",
        )
        for program in messages
    ]
    for job_number, message in zip(job_numbers, messages.values(), strict=True):
        job = cluster.wait(job_number)
        assert (job["JobState"], job["ExitCode"]) == ("FAILED", "2:0"), cluster.log(job_number)
        assert message in cluster.log(job_number)
        assert "Traceback" not in cluster.log(job_number)
    (suggestion,) = re.findall(r"'(launcher\.mpirun=.*)'", cluster.log(job_numbers[1]))
    assert run_chain(cluster, tmp_path / "new", SMOKE, suggestion, "dry_run=true").returncode == 0


def ranks_of(run: Path) -> list[Path]:
    """Return the folders in /proc of the ranks that generate a data set."""
    ranks = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "python" in arguments[0] and "pipeline.generate" in arguments and f"run={run}" in arguments:
            ranks.append(folder)
    return ranks


@pytest.mark.fault(
    "a node is lost, and mpirun ends with exit code 0",
    cause="SIGKILL to all ranks of generate; Slurm's signal while the restarted job runs `setup`",
    result="the job requeues itself after progress; the early signal stops the stage",
    lost="the shards in work",
)
def test_a_job_continues_after_a_lost_node_and_remembers_an_early_signal(
    cluster: Cluster, tmp_path: Path
) -> None:
    run, setup, mpirun = tmp_path / "run", tmp_path / "setup.sh", tmp_path / "mpirun"
    mpirun.write_text('#!/bin/sh\n[ -z "$SLURM_RESTART_COUNT" ] || exec mpirun "$@"\nmpirun "$@"\nexit 0\n')
    mpirun.chmod(0o755)
    setup.write_text(
        f"""if [ "$SLURM_RESTART_COUNT" = 1 ]; then
    touch {tmp_path}/in-setup
    until [ -e {tmp_path}/continue ]; do sleep 0.1; done
fi
"""
    )
    options = ("--ntasks=2", "--cpus-per-task=2", f"--export=ALL,SIMSURROGATE_SETUP={setup}")
    overrides = (*SLOW_GENERATION, "samples.train=1000", f"launcher.mpirun=[{mpirun}]", f"run={run}")
    job_number = cluster.sbatch(
        *options, f"--output={tmp_path}/log.txt", str(batch_script("generate")), *overrides
    )

    def is_progress_recorded() -> bool:
        return any(record.get("progress", {}).get("done", 0) > 0 for record in records(run, "generate"))

    wait_until(is_progress_recorded, 60, lambda: cluster.log(job_number))
    ranks = ranks_of(run)
    assert len(ranks) == 2
    for folder in ranks:
        # A rank with two processors may use more than the one core to which mpirun binds by default.
        if (os.cpu_count() or 1) > 1:
            assert len(os.sched_getaffinity(int(folder.name))) >= 2
        os.kill(int(folder.name), signal.SIGKILL)
    job = cluster.wait(job_number, ["PENDING", "FAILED", "COMPLETED"], 60)
    assert (job["JobState"], job["Restarts"]) == ("PENDING", "1"), cluster.log(job_number)
    cluster.start_soon(job_number)
    wait_until((tmp_path / "in-setup").exists, 60, lambda: cluster.log(job_number))
    cluster.signal(job_number, "USR1")
    (tmp_path / "continue").touch()
    wait_until(
        lambda: [record["outcome"] for record in records(run, "generate")] == ["killed", "interrupted"],
        60,
        lambda: cluster.log(job_number),
    )
    cluster.run(["scancel", str(job_number)])


def test_a_stage_inside_a_job_starts_on_all_nodes(cluster: Cluster, tmp_path: Path) -> None:
    stage = f"run_stage('generate', {[SMOKE, f'run={tmp_path}']}, 2, ['mpirun'])"
    command = ["python", "-c", f"from pipeline.jobs.local import run_stage; {stage}"]
    log_option = f"--output={tmp_path}/log.txt"
    cluster.require_completion(
        cluster.sbatch(*RANK_ON_EACH_NODE, log_option, f"--wrap={shlex.join(command)}")
    )
    (record,) = records(tmp_path, "generate")
    assert record["nodes"] == {"n1": 1, "n2": 1}


@pytest.mark.usefixtures("forked_stages")
def test_chains_submitted_inside_jobs_get_no_variable_of_a_job(cluster: Cluster, tmp_path: Path) -> None:
    """Submit a chain from a step of an array task, from `salloc`, and from `srun --pty` inside `salloc`."""
    runs = {name: tmp_path / name for name in ("array", "salloc", "pty")}
    chain = {
        name: ["python", "-m", "pipeline.chain", SMOKE, *ONE_JOB_WITH_VARIABLES, f"run={run}"]
        for name, run in runs.items()
    }
    step, allocation = ["srun", "--mpi=none", "--ntasks=1", "--nodes=1"], ["salloc", "--ntasks=2"]
    array_job = cluster.sbatch(
        "--array=3",
        *RANK_ON_EACH_NODE,
        f"--output={tmp_path}/log.txt",
        f"--wrap={shlex.join([*step, *chain['array']])}",
    )
    terminal_command = shlex.join([*allocation, *step, "--pty", *chain["pty"]])
    commands = ([*allocation, *chain["salloc"]], ["script", "-qec", terminal_command, "/dev/null"])
    for command in commands:
        require_success(cluster.run(command, timeout=90))
    wait_until(
        lambda: cluster.job(f"{array_job}_3")["JobState"] in ("COMPLETED", "FAILED"),
        90,
        (tmp_path / "log.txt").read_text,
    )
    for run in runs.values():
        assert (run / "jobs" / "chain.json").exists(), (tmp_path / "log.txt").read_text()
        cluster.require_completion(job_numbers(run)["generate"])
        require_success(run_chain(cluster, run, "cancel"))
        assert json.loads((run / "dataset" / "manifest.json").read_text())["complete"]
        variables = [line for line in logs(run).splitlines() if line.startswith(JOB_PREFIXES)]
        assert not [line for line in variables if not line.startswith("OMPI_ALLOW_RUN_AS_ROOT")]
