"""Jobs near their time limit, and preempted jobs: they save their work and are requeued."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.faults.driving import read_generated
from tests.jobs.slurm.chains import LONG_TRAINING, SLOW_GENERATION, SLOW_SAMPLES, SMOKE, batch_script, records
from tests.jobs.slurm.cluster import Cluster, wait_until
from tests.support.launching import require_success, run_stage

pytestmark = pytest.mark.usefixtures("forked_stages")


def has_new_checkpoint(folder: Path, earlier_checkpoints: set[Path]) -> bool:
    return bool(set(folder.glob("*.safetensors")) - earlier_checkpoints)


def restart_requeued(cluster: Cluster, job_number: int, num_restarts: int) -> None:
    """Wait until a job has requeued itself `num_restarts` times, and start the job soon."""
    job = cluster.wait(job_number, ["PENDING", "FAILED", "COMPLETED"], 60)
    assert (job["JobState"], job["Restarts"]) == ("PENDING", str(num_restarts)), cluster.log(job_number)
    cluster.start_soon(job_number)


def preempt(cluster: Cluster) -> None:
    """Submit a job with a higher priority that needs the GPUs of a running job."""
    options = ("--partition=urgent", "--account=science", "--gres=gpu:2", "--output=/dev/null")
    urgent_job = cluster.sbatch(*options, "--wrap=true", cwd=cluster.folder, user="grace")
    cluster.require_completion(urgent_job)


def preempt_after_signal(cluster: Cluster) -> None:
    """Preempt a job on a site that announces a preemption by the signal of the job."""
    with cluster.options(SlurmctldParameters="preempt_send_user_signal"):
        preempt_after_end_of_steps(cluster)


def preempt_after_end_of_steps(cluster: Cluster) -> None:
    """Preempt a job on a site that ends the steps of a job some time before the job."""
    command = ["scontrol", "update", "partitionname=scavenge"]
    require_success(cluster.run([*command, "gracetime=100"]))
    preempt(cluster)
    require_success(cluster.run([*command, "gracetime=0"]))


STOPS = (preempt_after_signal, preempt_after_end_of_steps, preempt)


@pytest.mark.fault(
    "jobs of higher priority preempt a job",
    cause="3 jobs need the GPUs of a training on 2 nodes: Slurm sends SIGUSR1, or ends the steps or the job",
    result="requeue, and the weights of an undisturbed run",
    lost="nothing after SIGUSR1; else the steps since the last checkpoint",
)
def test_a_preempted_training_ends_with_the_same_bits(
    cluster: Cluster, validated_data: Path, tmp_path: Path
) -> None:
    """Compare two ranks on two nodes with an uninterrupted run of two ranks on this machine."""
    folders = [tmp_path / name for name in ("slurm", "here")]
    arguments = (SMOKE, f"dataset={validated_data}/dataset", *LONG_TRAINING)
    job_number = cluster.sbatch(
        "--nodes=2",
        "--ntasks=2",
        "--partition=scavenge",
        "--gres=gpu:2",
        f"--output={tmp_path}/log.txt",
        str(batch_script("train")),
        *arguments,
        f"run={folders[0]}",
    )
    checkpoints = folders[0] / "models" / "fno" / "checkpoints"
    with ThreadPoolExecutor() as executor:
        reference = executor.submit(run_stage, "train", *arguments, f"run={folders[1]}", ranks=2)
        for num_restarts, stop in enumerate(STOPS, start=1):
            is_saved = partial(has_new_checkpoint, checkpoints, set(checkpoints.glob("*.safetensors")))
            wait_until(is_saved, 60, lambda: cluster.log(job_number))
            stop(cluster)
            restart_requeued(cluster, job_number, num_restarts)
    require_success(reference.result())
    cluster.require_completion(job_number)
    attempts = records(folders[0], "train")
    outcomes = ["interrupted", "killed", "killed", "complete"]
    assert [record["outcome"] for record in attempts] == outcomes, cluster.log(job_number)
    assert [record["slurm"].get("restarts", "0") for record in attempts] == ["0", "1", "2", "3"]
    assert all(record["nodes"] == {"n1": 1, "n2": 1} for record in attempts)
    first_steps = [record["progress"]["start"] for record in attempts]
    assert first_steps[1] == attempts[0]["progress"]["done"], "the signal leaves time for a checkpoint"
    assert first_steps == sorted(set(first_steps))
    for name in ("model.safetensors", "log.csv"):
        model_file, reference_file = (folder / "models" / "fno" / name for folder in folders)
        assert model_file.read_bytes() == reference_file.read_bytes()


def test_a_stopped_generation_keeps_complete_shards_and_continues(
    cluster: Cluster, slow_data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    log_option = f"--output={tmp_path}/log.txt"
    arguments = (str(batch_script("generate")), *SLOW_GENERATION, *SLOW_SAMPLES, f"run={run}")
    job_number = cluster.sbatch("--nodes=2", "--ntasks=2", log_option, *arguments)
    shards = run / "dataset" / "data" / "train"
    wait_until(lambda: len(list(shards.glob("*.hdf5"))) >= 3, 60, lambda: cluster.log(job_number))
    cluster.signal(job_number, "USR1")
    restart_requeued(cluster, job_number, 1)
    times_of_shards = {path: path.stat().st_mtime_ns for path in shards.glob("*.hdf5")}
    assert 3 <= len(times_of_shards) < 10
    assert not list(run.rglob("*.partial"))
    cluster.require_completion(job_number)
    assert {path: path.stat().st_mtime_ns for path in times_of_shards} == times_of_shards
    assert read_generated(run) == read_generated(slow_data)


@pytest.mark.fault(
    "a shard takes longer than the time limit",
    cause="time limit of 3 minutes in Slurm",
    result="the job fails with the reason; no endless requeue",
    lost="the shard in work",
)
def test_a_job_without_progress_is_not_requeued(cluster: Cluster, endless_shard: tuple[int, Path]) -> None:
    # A shard that takes longer than the time limit would restart forever.
    job_number, folder = endless_shard
    ending = cluster.wait_for_end(job_number, seconds=240)
    log_text = (folder / "log.txt").read_text()
    assert ending == ("FAILED", "2:0"), log_text
    assert len(records(folder / "run", "generate")) == 1, "the job did not start again"
    assert "no progress" in log_text
    assert "samples.per_shard" in log_text
    assert "Traceback" not in log_text
    assert not list(folder.rglob("*.partial"))
