"""The probe on a rank: cores, run folder, lock, MPI and devices. `python -m pipeline.chain probe` starts it.

python -m pipeline.probe FOLDER TOKEN       # in a job, under the launch line of the chain
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

from pipeline.jobs.probe_report import PRINTED_REPORT, RankReport, lock_path, token_path
from pipeline.parallel import launch, mpi
from pipeline.runs import lock
from simsurrogate.errors import UserError
from simsurrogate.files import write_whole


def run(folder: Path, token: str) -> None:
    """Find out what this rank has, and write the report before each phase that may hang or end the rank."""
    report = _first_report(folder, token)
    _write(report, folder)
    report = _with_mpi(report)
    _write(report, folder)
    _exchange_messages()
    report = replace(report, phase="torch")
    _write(report, folder)
    _write(_with_devices(report), folder)


def _first_report(folder: Path, token: str) -> RankReport:
    process = launch.detect()
    return RankReport(
        rank=process.rank,
        launcher=process.launcher,
        node=launch.node_name(),
        process=os.getpid(),
        num_nodes=int(os.environ.get("SLURM_JOB_NUM_NODES", "1")),
        threads=int(os.environ.get("OMP_NUM_THREADS", "1")),
        cores=sorted(os.sched_getaffinity(0)),
        folder_error=_folder_error(folder, token),
        lock_error=_lock_error(folder),
        has_gpus=bool(os.environ.get("SLURM_JOB_GPUS"))
        or os.environ.get("SLURM_GPUS_ON_NODE", "0") not in ("", "0"),
        phase="MPI",
    )


def _folder_error(folder: Path, token: str) -> str:
    """Return why this node does not see the submitter's folder, or may not write it; else an empty text."""
    try:
        if token_path(folder).read_text() != token:
            return "holds another file of the same name: the folders are not the same"
        own_file = folder / f"written-{launch.node_name()}-{os.getpid()}"
        write_whole(own_file, "")
        own_file.unlink()
    except FileNotFoundError:
        return "does not see the files of the run folder"
    except (OSError, UserError) as error:
        return f"cannot write the run folder: {error}"
    return ""


def _lock_error(folder: Path) -> str:
    """Return why the lock that the job holds does not keep this rank out; else an empty text."""
    if not lock_path(folder).exists():
        return "does not see the lock of the job"
    try:
        with lock.hold(lock_path(folder)):
            return "took the lock that the job holds"
    except lock.LockedError:
        return ""
    except (OSError, UserError) as error:
        return f"cannot use the lock: {error}"


def _with_mpi(report: RankReport) -> RankReport:
    mpi.initialise(is_alone=report.launcher == "none")
    from mpi4py import MPI

    library = MPI.Get_library_version().split("\n")[0].strip("\x00 ")
    # A launcher without known variables is detected through MPI.
    process = launch.detect()
    return replace(
        report,
        rank=process.rank,
        launcher=process.launcher,
        world_size=MPI.COMM_WORLD.size,
        mpi_library=library,
        phase="messages",
    )


def _exchange_messages() -> None:
    """Send a message from every rank to every rank."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    assert world.alltoall([world.rank] * world.size) == list(range(world.size))


def _with_devices(report: RankReport) -> RankReport:
    import torch

    from pipeline.parallel import devices

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    own_index = launch.detect().local_rank % max(count, 1)
    uuids = [str(devices.device_uuid(torch.device("cuda", index))) for index in range(count)]
    return replace(
        report,
        phase="end",
        torch_version=str(torch.__version__),
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        devices=uuids,
        own_device=uuids[own_index] if uuids else "",
    )


def _write(report: RankReport, folder: Path) -> None:
    text = json.dumps(asdict(report))
    if report.folder_error:
        print(f"{PRINTED_REPORT}{text}", flush=True)
    else:
        write_whole(folder / report.path_name, text)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2])
