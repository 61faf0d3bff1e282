"""Chains whose nodes are killed and whose controller restarts have the bytes of an undisturbed run."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.driving import read_generated
from tests.faults.storms.storm import saving_times
from tests.jobs.slurm import configuration
from tests.jobs.slurm.chains import (
    LONG_TRAINING,
    SLOW_GENERATION,
    SLOW_SAMPLES,
    final_states,
    job_numbers,
    logs,
    records,
    run_chain,
    states,
)
from tests.jobs.slurm.cluster import Cluster, wait_until
from tests.support.launching import require_success, run_stage

EXPERIMENT = (
    *SLOW_GENERATION,
    *SLOW_SAMPLES,
    *LONG_TRAINING,
    "surrogate.width=8",
    "surrogate.modes=4",
    "surrogate.layers=2",
    "evaluation.figures=0",
)
BOTH_NODES = (
    "launcher=slurm",
    "launcher.parts=1",
    "launcher.ranks.train=2",
    "+launcher.sbatch.all.account=science",
    *(f"+launcher.sbatch.{stage}.nodes=2" for stage in ("generate", "validate", "train")),
)


@pytest.fixture(scope="module")
def reference_run(slow_data: Path) -> Iterator[Future[Path]]:
    """Yield the run folder of a training without a disturbance and without Slurm, which runs meanwhile."""

    def finished_run() -> Path:
        for stage, ranks in (("validate", 0), ("train", 2)):
            require_success(run_stage(stage, *EXPERIMENT, f"run={slow_data}", ranks=ranks))
        return slow_data

    with ThreadPoolExecutor() as executor:
        yield executor.submit(finished_run)


def result_bytes(run: Path) -> dict[str, bytes]:
    """Return the bytes of the data set, the weights and the losses."""
    model = run / "models" / "fno"
    return read_generated(run) | {
        name: (model / name).read_bytes() for name in ("model.safetensors", "log.csv")
    }


def restarted_job(cluster: Cluster, run: Path, name: str, lost_node: str) -> None:
    """Wait until Slurm has requeued a job of a chain that lost a node; start the node, and then the job.

    Slurm starts a requeued job as soon as its nodes are up. A start within a second fails, so the job gets a
    later time while its node is down.
    """
    number = job_numbers(run)[name]
    wait_until(lambda: not cluster.has_processes(number), 60, lambda: logs(run))
    job = cluster.wait(number, ["PENDING"], 60)
    assert job["Restarts"] == "1"
    cluster.start_soon(number, 300)
    cluster.start_node(lost_node)
    cluster.start_soon(number, configuration.KILL_WAIT + 3)


@pytest.mark.usefixtures("free_nodes", "forked_stages")
@pytest.mark.fault(
    "nodes are lost, and the controller of Slurm restarts",
    cause="SIGKILL to slurmd and all processes of a node in generate, and in train, which may not be "
    "requeued; slurmctld is down when generate ends",
    result="generate is requeued; status says that a node failed, and resume continues train; the same bytes",
    lost="the shards in work, and the steps since the last checkpoint",
)
def test_a_chain_survives_lost_nodes_and_a_restart_of_the_controller(
    cluster: Cluster, reference_run: Future[Path], ada_folder: Path
) -> None:
    run = ada_folder / "run"
    no_requeue = "+launcher.sbatch.train.no-requeue=true"
    require_success(run_chain(cluster, run, *EXPERIMENT, *BOTH_NODES, no_requeue, user="ada"))
    shards = run / "dataset" / "data" / "train"
    wait_until(lambda: len(list(shards.glob("*.hdf5"))) >= 3, 60, lambda: logs(run))
    cluster.kill_node("n2")
    times_of_shards = {path: path.stat().st_mtime_ns for path in shards.glob("*.hdf5")}
    restarted_job(cluster, run, "generate", "n2")
    wait_until(lambda: len(records(run, "generate")) == 2, 60, lambda: logs(run))
    generate = job_numbers(run)["generate"]
    # A step that does not reach the controller for 10 s waits another minute.
    with cluster.stopped_controller():
        with cluster.short_timeout():
            result = run_chain(cluster, run, "status")
        assert result.returncode == 2
        assert "error: Slurm does not answer" in result.stderr
        wait_until(lambda: not cluster.has_processes(generate), 60, lambda: logs(run))
        assert records(run, "generate")[1]["outcome"] == "complete"
    assert {path: path.stat().st_mtime_ns for path in times_of_shards} == times_of_shards
    checkpoints = run / "models" / "fno" / "checkpoints"
    wait_until(lambda: any(checkpoints.glob("*.safetensors")), 90, lambda: logs(run))
    cluster.kill_node("n1")
    cluster.start_node("n1")
    assert final_states(cluster, run)["train"] == "NODE_FAIL"
    status_text = require_success(run_chain(cluster, run, "status")).stdout
    assert "train failed: a node failed" in status_text
    require_success(run_chain(cluster, run, "resume"))
    cluster.require_completion(job_numbers(run)["train"])
    require_success(run_chain(cluster, run, "cancel"))
    assert result_bytes(run) == result_bytes(reference_run.result())
    outcomes = [record["outcome"] for record in records(run, "train")]
    assert outcomes == ["killed", "complete"]
    assert records(run, "train")[1]["progress"]["start"] > 0


@dataclass
class Loss:
    """A node killed while a job of a chain was running.

    `lost_seconds` is the time between the last file that a restart keeps, or the start of the job, and the
    kill. `ends` holds the reasons of jobs that failed, which a user resumes.
    """

    moment: float
    node: str
    job: str
    lost_seconds: float
    ends: list[str]

    def __str__(self) -> str:
        end = f"failed ({'; '.join(self.ends)}) and resumed" if self.ends else "went on alone"
        return (
            f"{self.moment:5.1f} s after the start: {self.node} lost in {self.job}, "
            f"{self.lost_seconds:.1f} s of work lost, the chain {end}"
        )


def lose_node(cluster: Cluster, run: Path, moment: float, rng: random.Random) -> Loss:
    """Kill a node `moment` s after the start of a chain, and restart the node.

    If a job is running, the node is a node of the job.
    """
    time.sleep(moment)
    running_jobs = [name for name, state in states(cluster, run).items() if state == "RUNNING"]
    name, nodes, lost_seconds = "no job", list(configuration.NODES), 0.0
    if running_jobs:
        name = running_jobs[0]
        job = cluster.job(job_numbers(run)[name])
        nodes = [node for node in nodes if job["NodeList"] in (node, "n[1-2]")]
        start_time = datetime.fromisoformat(job["StartTime"]).timestamp()
        lost_seconds = time.time() - max([start_time, *saving_times(run)])
    node = rng.choice(nodes)
    cluster.kill_node(node)
    cluster.start_node(node)
    return Loss(moment, node, name, lost_seconds, [])


def wait_for_end(cluster: Cluster, run: Path) -> dict[str, Any]:
    """Wait for the end of a chain, start requeued jobs soon, and return the status."""
    started_jobs = set()

    def is_over() -> bool:
        live_states = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING"}
        live_jobs = [name for name, state in states(cluster, run).items() if state in live_states]
        for number in (job_numbers(run)[name] for name in live_jobs):
            job = cluster.job(number)
            attempt = (number, job["Restarts"])
            if job["Restarts"] != "0" and job["JobState"] == "PENDING" and attempt not in started_jobs:
                cluster.start_soon(number, configuration.KILL_WAIT + 3)
                started_jobs.add(attempt)
        return not live_jobs

    wait_until(is_over, 240, lambda: f"{states(cluster, run)}\n{logs(run)}")
    return json.loads(require_success(run_chain(cluster, run, "status", "--json")).stdout)


@pytest.mark.soak
@pytest.mark.usefixtures("free_nodes")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mpi", ["Open MPI under mpirun", "MPICH under srun"])
@pytest.mark.fault(
    "a node is lost at a random moment of a chain, with {mpi}",
    cause="5 times SIGKILL to slurmd and all processes of a node",
    result="the chain goes on, or status says that a node failed and resume finishes; the same bytes",
    lost="the work since the last shard, checkpoint or finished stage",
)
def test_chains_that_lose_a_node_at_random_moments_have_the_same_bytes(
    cluster: Cluster,
    reference_run: Future[Path],
    mpi: str,
    record_property: Callable[[str, object], None],
) -> None:
    module = f"'module use {cluster.folder}/modulefiles','module load mpich'"
    mpi_overrides = (
        'launcher.mpirun=[srun,"--mpi=pmi2"]',
        f"launcher.setup=['source /etc/profile.d/modules.sh',{module}]",
    )
    overrides = (*EXPERIMENT, *BOTH_NODES, *(mpi_overrides if "MPICH" in mpi else ()))
    rng, losses, duration = random.Random(mpi), [], 0.0
    with cluster.folder_of("ada") as folder:
        for index in range(6):
            run = folder / f"run-{index}"
            require_success(run_chain(cluster, run, *overrides, user="ada"))
            first_job = job_numbers(run)["generate"]
            cluster.wait(first_job, ["RUNNING"], 60)
            start_time = time.monotonic()
            if index:
                losses.append(lose_node(cluster, run, (index - 1 + rng.random()) / 5 * duration, rng))
            status = wait_for_end(cluster, run)
            duration = duration or time.monotonic() - start_time
            while status["state"] != "done":
                reasons = [
                    f"{job['name']}: {job['reason']}" for job in status["jobs"] if job["state"] == "failed"
                ]
                assert reasons, status
                losses[-1].ends += reasons
                assert len(losses[-1].ends) < 3, f"{losses[-1]}\n{logs(run)}"
                require_success(run_chain(cluster, run, "resume"))
                status = wait_for_end(cluster, run)
            assert result_bytes(run) == result_bytes(reference_run.result()), f"{losses}\n{logs(run)}"
            assert (run / "models" / "fno" / "evaluation" / "report.html").is_file()
            assert mpi.partition(" under")[0] in records(run, "generate")[-1]["mpi_library"]
            print(f"{mpi}, an undisturbed chain takes {duration:.1f} s:", *losses[-1:], flush=True)
    assert all(end.endswith("a node failed") for loss in losses for end in loss.ends), losses
    record_property("lost", f"{max(loss.lost_seconds for loss in losses):.1f} s of work at most")
