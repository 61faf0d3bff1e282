"""The sentences about a probe, from reports of ranks, and a report of the rank program itself."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from pipeline.config.settings import JobName, Launcher
from pipeline.jobs.probe_report import RankReport, lock_path, token_path
from pipeline.jobs.slurm.probe_findings import ProbeResult, findings
from pipeline.jobs.slurm.sbatch import Job
from pipeline.runs import lock
from tests.support import launching

LAUNCHER = Launcher(name="slurm", ranks={"train": 2}, mpirun=["srun"])
REPORT = RankReport(
    rank=0,
    launcher="srun",
    node="n1",
    process=1,
    num_nodes=1,
    threads=1,
    cores=[0],
    folder_error="",
    lock_error="",
    has_gpus=True,
    phase="end",
    world_size=2,
    mpi_library="Open MPI v5",
    torch_version="2",
    devices=["GPU-a", "GPU-b"],
    own_device="GPU-a",
)
SECOND = replace(REPORT, rank=1, process=2, cores=[1], own_device="GPU-b")


def wrong(
    *reports: RankReport,
    kind: JobName = "train",
    device: str = "auto",
    log: str = "",
    state: str = "COMPLETED",
) -> list[str]:
    """Return the sentences that are marked as wrong."""
    properties = {"JobState": state, "ExitCode": "0:53", "NodeList": "n1"}
    stage = "generate" if kind == "finish" else kind
    result = ProbeResult((Job(kind, stage),), 2, properties, list(reports), log)
    return [finding.text for finding in findings(result, LAUNCHER, device) if finding.is_wrong]


def test_ranks_with_cores_and_devices_of_their_own_are_right() -> None:
    assert wrong(REPORT, SECOND) == []
    shared = [replace(report, cores=[0, 1]) for report in (REPORT, SECOND)]
    assert wrong(*shared) == []


def test_ranks_on_the_same_cores_are_named() -> None:
    (text,) = wrong(REPORT, replace(SECOND, cores=[0]))
    assert text.startswith("ranks 0-1 on n1 have 2 threads and share core 0.")
    (text,) = wrong(replace(REPORT, threads=4, cores=[0, 1]), replace(SECOND, threads=4, cores=[0, 1]))
    assert text.startswith("ranks 0-1 on n1 have 8 threads and share cores 0-1.")
    result = ProbeResult(
        (Job("train", "train"),),
        2,
        {"JobState": "COMPLETED"},
        [replace(REPORT, cores=[0, 1]), replace(SECOND, cores=[1, 2])],
        "",
    )
    assert "ranks 0-1 on n1 overlap in core 1" in [
        finding.text for finding in findings(result, LAUNCHER, "cpu")
    ]


def test_missing_and_shared_devices_are_named() -> None:
    blind = [replace(report, devices=[], own_device="") for report in (REPORT, SECOND)]
    (text,) = wrong(*blind)
    assert text.startswith("this job has GPUs, but torch finds no CUDA device for ranks 0-1 on n1.")
    assert wrong(*blind, device="cpu") == wrong(*blind, kind="generate") == []
    without_gpus = [replace(report, has_gpus=False) for report in blind]
    assert wrong(*without_gpus) == []
    (text,) = wrong(*without_gpus, device="cuda")
    assert text.startswith("training.device=cuda, but torch finds no CUDA device")
    (text,) = wrong(REPORT, replace(SECOND, own_device="GPU-a"))
    assert text.startswith("n1 has 2 ranks and 1 CUDA devices for them.")


def test_worlds_of_single_ranks_stop_all_stages_except_train_under_srun() -> None:
    alone = [replace(report, world_size=1) for report in (REPORT, SECOND)]
    assert wrong(*alone) == []
    for reports, kind in (
        (alone, "generate"),
        ([replace(report, launcher="mpirun") for report in alone], "train"),
    ):
        (text,) = wrong(*reports, kind=kind)  # type: ignore[arg-type]
        assert text.startswith("MPI world: 1 instead of 2. Each rank would do all the work.")


def test_ranks_that_hang_or_are_missing_are_named() -> None:
    assert "rank 1 did not get past the start of MPI" in wrong(
        REPORT, replace(SECOND, phase="MPI", world_size=0)
    )
    assert "rank 1 did not get past messages between all ranks" in wrong(
        REPORT, replace(SECOND, phase="messages")
    )
    assert "rank 1 did not get past the import of torch" in wrong(REPORT, replace(SECOND, phase="torch"))
    assert wrong(REPORT) == ["`srun -n 2` started 1 processes instead of 2. Correct launcher.mpirun"]
    (text,) = wrong(*(replace(report, num_nodes=2) for report in (REPORT, SECOND)))
    assert text.startswith("1 of 2 nodes have no rank.")
    end, text = wrong(state="FAILED")
    assert end == "the job ended as FAILED (exit code 0:53)"
    assert text.startswith("the job left no log. The run folder has to exist on n1 and be writable there.")
    assert wrong(state="TIMEOUT", log="hangs")[-1] == "`srun -n 2` started none of the 2 ranks"


def test_a_rank_reports_a_lock_that_does_not_hold_and_another_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.probe", str(tmp_path)]
    token_path(tmp_path).write_text("token")
    with lock.hold(lock_path(tmp_path)):
        launching.require_success(launching.run([*command, "token"]))
    (path,) = tmp_path.glob("rank-*.json")
    held = json.loads(path.read_text())
    path.unlink()
    assert (held["folder_error"], held["lock_error"], held["phase"]) == ("", "", "end")
    assert (held["world_size"], held["launcher"]) == (1, "none")
    result = launching.require_success(launching.run([*command, "another token"]))
    reports = [json.loads(line.split(": ", 1)[1]) for line in result.stdout.splitlines()]
    assert reports[-1]["lock_error"] == "took the lock that the job holds"
    assert reports[-1]["folder_error"].startswith("holds another file of the same name")
    assert set(reports[-1]) == set(asdict(REPORT))
    assert not list(tmp_path.glob("rank-*.json"))
