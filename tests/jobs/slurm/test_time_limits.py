"""Jobs that receive the signal before their time limit save their work and requeue themselves."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.faults.driving import made
from tests.jobs.slurm.chains import LONG, SLOW, SLOW_SAMPLES, SMOKE, batch_script, records
from tests.jobs.slurm.cluster import Cluster, wait_until
from tests.support.launching import stage, succeeded


def has_more(folder: Path, before: set[Path]) -> bool:
    return bool(set(folder.glob("*.safetensors")) - before)


def queued_again(cluster: Cluster, number: int, times: int) -> None:
    """Waits until a job has put itself back into the queue so often, and lets it begin."""
    found = cluster.wait(number, ["PENDING", "FAILED", "COMPLETED"], 60)
    assert (found["JobState"], found["Restarts"]) == ("PENDING", str(times)), cluster.log(number)
    cluster.start_soon(number)


def test_training_stopped_three_times_ends_with_the_same_bits(
    cluster: Cluster, prepared: Path, tmp_path: Path
) -> None:
    """Two ranks on two nodes, against an undisturbed run of two ranks here."""
    folders = [tmp_path / name for name in ("slurm", "here")]
    words = (SMOKE, f"dataset={prepared}/dataset", *LONG)
    number = cluster.sbatch(
        "--nodes=2",
        "--ntasks=2",
        f"--output={tmp_path}/log.txt",
        str(batch_script("train")),
        *words,
        f"run={folders[0]}",
    )
    checkpoints = folders[0] / "models" / "fno" / "checkpoints"
    for times in (1, 2, 3):
        there = set(checkpoints.glob("*.safetensors"))
        wait_until(partial(has_more, checkpoints, there), 60, lambda: cluster.log(number))
        cluster.signal(number, "USR1")
        queued_again(cluster, number, times)
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
        ours, theirs = (folder / "models" / "fno" / name for folder in folders)
        assert ours.read_bytes() == theirs.read_bytes()


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
    queued_again(cluster, number, 1)
    kept = {path: path.stat().st_mtime_ns for path in shards.glob("*.hdf5")}
    assert 3 <= len(kept) < 10
    assert not list(run.rglob("*.partial"))
    cluster.succeeded(number)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert made(run) == made(slow_data)


def test_a_job_that_makes_no_progress_is_not_queued_again(cluster: Cluster, tmp_path: Path) -> None:
    """One shard that takes longer than the job has: requeued, it would begin anew for ever. The signal is
    Slurm's own, which looks at the time limits twice a minute.
    """
    run = tmp_path / "run"
    options = ("--time=00:02:00", "--signal=B:USR1@105", f"--output={tmp_path}/log.txt")
    endless = (*SLOW, "samples.train=1000", "samples.per_shard=1000", f"run={run}")
    ended = cluster.wait(cluster.sbatch(*options, str(batch_script("generate")), *endless))
    said = (tmp_path / "log.txt").read_text()
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("FAILED", "2:0", "0"), said
    assert "no progress" in said
    assert "samples.per_shard" in said
    assert "Traceback" not in said
    assert not list(run.rglob("*.partial"))
