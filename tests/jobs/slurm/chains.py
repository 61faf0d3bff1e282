"""Chains of jobs on the test cluster, and options of their experiments."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.jobs.slurm.cluster import Cluster, wait_until
from tests.support import forked
from tests.support.launching import require_success

SMOKE = "experiment=smoke"
#: A generation whose trajectories take half a second each, without load on the processors.
SLOW_GENERATION = (
    f"solver.path={Path(__file__).parents[2] / 'config' / 'outside' / 'decaying_wave.py'}",
    "solver.resolution=24",
    "solver.pause=0.5",
    "samples={train: 8, valid: 2, test: 2, test_extrapolation: 0, per_shard: 1}",
    "output={duration: 1, steps: 6}",
)
SLOW_SAMPLES = ("samples.train=10", "samples.valid=1", "samples.test=1")
#: A training that takes some seconds on the data of the smoke experiment.
LONG_TRAINING = ("training.steps=160", "training.checkpoint_every=5", "training.validate_every=40")
RANK_ON_EACH_NODE = ("--nodes=2", "--ntasks=2", "--ntasks-per-node=1")
#: The awkward site needs an account, and its MPI comes from a module. Slurm starts the ranks.
MPICH_SITE = """\
defaults: [slurm, _self_]
setup: [source /etc/profile.d/modules.sh, module use {folder}/modulefiles, module load mpich]
mpirun: [srun, --mpi=pmi2]
ranks: {{finish: 2, train: 2}}
sbatch:
  all: {{account: science}}
  generate: {{nodes: 2}}
  finish: {{nodes: 2}}
  train: {{nodes: 2, gpus-per-node: 2}}
"""
AWKWARD_NAME = 'it\'s a run; $(touch x), [one] "100%d" `touch y` & *'
#: Jobs that start in an hour.
LATER = "+launcher.sbatch.generate.begin=now+1hour"
#: The end of each task of an array: the shell lines that the task runs instead of the stage.
ENDS = """\
case "$SLURM_ARRAY_TASK_ID" in
0) echo "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch. Some tasks were OOM Killed."
   kill -9 $$ ;;
1) trap '' USR1  # Slurm may send the signal before the time limit and the end at the same time.
   exec sleep 600 ;;
2) echo "error: the module openmpi/9.9 does not exist"
   exec false ;;
3) kill -9 $$ ;;
4) exec true ;;
esac
"""
CANCELLED_TASK = 5
JOBS = ("generate", "finish", "validate", "train", "evaluate")


def batch_script(stage: str) -> Path:
    """Return the batch script of a stage, which a user submits by hand."""
    return Path(__file__).parents[3] / "slurm" / f"{stage}.sbatch"


def run_override(run: Path) -> str:
    """Return `run=` with a quoted path, which may contain characters of Hydra's grammar."""
    return 'run="' + str(run).replace('"', '\\"') + '"'


def run_chain(
    cluster: Cluster, run: Path, *arguments: str, cwd: Path | None = None, user: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the chain with `ARGUMENTS run=RUN` on the login node, forked after all imports.

    Without `user`, the command runs as the owner of an existing run folder, or else as root.
    """
    user = user or (run.owner() if run.exists() else "root")
    return forked.run_stage(
        "chain",
        *arguments,
        run_override(run),
        timeout=120,
        cwd=cwd,
        environment=cluster.environment(user),
        user=user,
    )


def submitted_jobs(run: Path) -> list[dict[str, Any]]:
    """Return the jobs of a chain in the order of submission."""
    return json.loads((run / "jobs" / "chain.json").read_text())["jobs"]


def job_numbers(run: Path) -> dict[str, str]:
    """Return the number of each job's newest submission by the job's name."""
    return {job["name"]: job["number"] for job in submitted_jobs(run)}


def states(cluster: Cluster, run: Path) -> dict[str, str]:
    """Return the states of a chain's newest jobs by name, with names such as `generate_1` for array tasks."""
    names = {number: name for name, number in job_numbers(run).items()}
    states_by_name = {}
    for key, state in cluster.jobs().items():
        number, separator, task = key.partition("_")
        if number in names:
            states_by_name[names[number] + separator + task] = state
    return states_by_name


def final_states(cluster: Cluster, run: Path, seconds: float = 150) -> dict[str, str]:
    """Wait until all jobs of a chain have ended, and return their final states."""

    def is_over() -> bool:
        return not set(states(cluster, run).values()) & {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING"}

    wait_until(is_over, seconds, lambda: f"{states(cluster, run)}\n{logs(run)}")
    return states(cluster, run)


def logs(run: Path) -> str:
    """Return the printed output of all jobs of a chain."""
    paths = sorted((run / "jobs" / "logs").glob("*.out"))
    return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in paths)


def records(run: Path, stage: str) -> list[dict[str, Any]]:
    """Return the records of all attempts at a stage, the first attempt first."""
    return [json.loads(path.read_text()) for path in sorted((run / "records").glob(f"{stage}-*.json"))]


def wait_for_mails(mails: Path, count: int) -> list[str]:
    """Wait until Slurm has sent this number of mails, and return the subjects of all mails."""
    wait_until(lambda: len(mails.read_text().splitlines()) >= count, 60, mails.read_text)
    return mails.read_text().splitlines()


def start_ending_chain(cluster: Cluster, run: Path) -> None:
    """Start a chain whose tasks of generate end in different ways, see `ENDS`.

    One task is cancelled before it starts. The time limit passes as soon as another task has started.
    """
    script = run.with_name("ends.sh")
    script.write_text(ENDS)
    setup = f"launcher.setup=['source {script}']"
    require_success(run_chain(cluster, run, SMOKE, "launcher=slurm", "launcher.parts=6", LATER, setup))
    number = job_numbers(run)["generate"]

    def status_text() -> str:
        return require_success(run_chain(cluster, run, "status")).stdout

    # The scheduler finds the reason after the submission.
    wait_until(lambda: "6 pending  begin time, expected start 20" in status_text(), 30, status_text)
    assert status_text().count("expected start") == 1
    cluster.cancel(f"{number}_{CANCELLED_TASK}")
    require_success(cluster.run(["scontrol", "update", f"jobid={number}", "StartTime=now"]))
    wait_until(lambda: "RUNNING" in states(cluster, run).values(), 60, lambda: f"{states(cluster, run)}")
    # Slurm refuses an end in the second of the start.
    end_command = ["scontrol", "update", f"jobid={number}_1", "EndTime=now"]
    wait_until(lambda: cluster.run(end_command).returncode == 0, 10, lambda: f"{states(cluster, run)}")
