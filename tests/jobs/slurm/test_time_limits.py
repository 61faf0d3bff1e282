"""Jobs that receive the signal before their time limit save their work and requeue themselves."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.faults.driving import made
from tests.jobs.slurm.chains import LONG, SLOW, SLOW_SAMPLES, SMOKE, batch_script, records
from tests.jobs.slurm.cluster import Cluster, wait_until
from tests.support.launching import stage, succeeded


def has_new_checkpoint(folder: Path, before: set[Path]) -> bool:
    return bool(set(folder.glob("*.safetensors")) - before)


def restart_requeued(cluster: Cluster, number: int, num_restarts: int) -> None:
    """Wait until a job has requeued itself `num_restarts` times, and start it soon."""
    job = cluster.wait(number, ["PENDING", "FAILED", "COMPLETED"], 60)
    assert (job["JobState"], job["Restarts"]) == ("PENDING", str(num_restarts)), cluster.log(number)
    cluster.start_soon(number)


def test_training_stopped_three_times_ends_with_the_same_bits(
    cluster: Cluster, validated_data: Path, tmp_path: Path
) -> None:
    """Compare two ranks on two nodes with an undisturbed run of two ranks on this machine."""
    folders = [tmp_path / name for name in ("slurm", "here")]
    words = (SMOKE, f"dataset={validated_data}/dataset", *LONG)
    number = cluster.sbatch(
        "--nodes=2",
        "--ntasks=2",
        f"--output={tmp_path}/log.txt",
        str(batch_script("train")),
        *words,
        f"run={folders[0]}",
    )
    checkpoints = folders[0] / "models" / "fno" / "checkpoints"
    for num_restarts in (1, 2, 3):
        earlier = set(checkpoints.glob("*.safetensors"))
        wait_until(partial(has_new_checkpoint, checkpoints, earlier), 60, lambda: cluster.log(number))
        cluster.signal(number, "USR1")
        restart_requeued(cluster, number, num_restarts)
    succeeded(stage("train", *words, f"run={folders[1]}", ranks=2))
    cluster.succeeded(number)
    attempts = records(folders[0], "train")
    assert [record["outcome"] for record in attempts] == ["interrupted"] * 3 + ["complete"]
    assert [record["slurm"].get("restarts", "0") for record in attempts] == ["0", "1", "2", "3"]
    assert all(record["nodes"] == {"n1": 1, "n2": 1} for record in attempts)
    starts = [record["progress"]["start"] for record in attempts]
    assert starts == [0, *(record["progress"]["done"] for record in attempts[:-1])]
    assert starts == sorted(set(starts))
    for name in ("model.safetensors", "log.csv"):
        model_file, reference_file = (folder / "models" / "fno" / name for folder in folders)
        assert model_file.read_bytes() == reference_file.read_bytes()


def test_a_stopped_generation_keeps_complete_shards_and_continues(
    cluster: Cluster, slow_data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    log = f"--output={tmp_path}/log.txt"
    words = (str(batch_script("generate")), *SLOW, *SLOW_SAMPLES, f"run={run}")
    number = cluster.sbatch("--nodes=2", "--ntasks=2", log, *words)
    shards = run / "dataset" / "data" / "train"
    wait_until(lambda: len(list(shards.glob("*.hdf5"))) >= 3, 60, lambda: cluster.log(number))
    cluster.signal(number, "USR1")
    restart_requeued(cluster, number, 1)
    kept_shards = {path: path.stat().st_mtime_ns for path in shards.glob("*.hdf5")}
    assert 3 <= len(kept_shards) < 10
    assert not list(run.rglob("*.partial"))
    cluster.succeeded(number)
    assert {path: path.stat().st_mtime_ns for path in kept_shards} == kept_shards
    assert made(run) == made(slow_data)


def test_a_job_without_progress_is_not_requeued(cluster: Cluster, tmp_path: Path) -> None:
    """A shard that takes longer than the time limit would restart for ever.

    Slurm sends the signal itself; it checks the time limits twice a minute.
    """
    run = tmp_path / "run"
    options = ("--time=00:02:00", "--signal=B:USR1@105", f"--output={tmp_path}/log.txt")
    endless = (*SLOW, "samples.train=1000", "samples.per_shard=1000", f"run={run}")
    job = cluster.wait(cluster.sbatch(*options, str(batch_script("generate")), *endless))
    log_text = (tmp_path / "log.txt").read_text()
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "2:0", "0"), log_text
    assert "no progress" in log_text
    assert "samples.per_shard" in log_text
    assert "Traceback" not in log_text
    assert not list(run.rglob("*.partial"))
