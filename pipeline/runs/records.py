"""The run record: one JSON for each attempt at a stage, with all that tells how it was made."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.config.settings import Settings
from pipeline.parallel.launch import detect, node_name
from pipeline.parallel.stopping import StoppedError
from simsurrogate.errors import UserError
from simsurrogate.files import writable_folder, write_whole

_PACKAGES = (
    "simsurrogate",
    "mpi4py",
    "h5py",
    "numpy",
    "scipy",
    "numba",
    "torch",
    "deepxde",
    "hydra-core",
)


#: What Slurm tells a job of itself.
_SLURM = {
    "job": "SLURM_JOB_ID",
    "array_job": "SLURM_ARRAY_JOB_ID",
    "array_task": "SLURM_ARRAY_TASK_ID",
    "restarts": "SLURM_RESTART_COUNT",
    "partition": "SLURM_JOB_PARTITION",
    "nodes": "SLURM_JOB_NODELIST",
}

#: Progress is written to the record no more often than this, s.
_PROGRESS_EVERY = 5.0


class Metadata(dict[str, Any]):
    """What a stage adds to its record."""

    def __init__(self, write: Callable[[], None]):
        super().__init__()
        self._write = write
        self._written = -math.inf

    def progress(self, done: int, total: int, unit: str) -> None:
        """Notes how far the stage is, beside where it started; a reader sees it some seconds later."""
        start = self.get("progress", {}).get("start", done)
        self["progress"] = {"start": start, "done": done, "total": total, "unit": unit}
        if time.monotonic() - self._written > _PROGRESS_EVERY:
            self._written = time.monotonic()
            self._write()


@contextmanager
def run_record(settings: Settings, stage: str) -> Iterator[Metadata]:
    """Writes `RUN/records/STAGE-NNN.json` on rank 0, when the stage starts and again when it ends.

    What the stage puts into the yielded mapping stands in the record; `outcome` is `running`,
    `complete`, or `interrupted` or `failed` with the reason.

    Raises:
        UserError: the run folder cannot be written.
    """
    launch = detect()
    record: dict[str, Any] = {
        "stage": stage,
        "outcome": "running",
        "started": _now(),
        "command": sys.argv,
        "configuration": settings.model_dump(mode="json"),
        "versions": {"python": platform.python_version()} | _versions(),
        "mpi_library": _mpi_library(),
        "launcher": launch.launcher,
        "ranks": launch.size,
        "host": node_name(),
        "slurm": {name: os.environ[variable] for name, variable in _SLURM.items() if variable in os.environ},
    }
    if launch.rank != 0:
        with _telling_of_failure_alone(settings.run / "records", stage, launch.rank):
            yield Metadata(lambda: None)
        return
    path = _claim_path(writable_folder(settings.run / "records"), stage)
    metadata = Metadata(lambda: _write(path, record | metadata))
    _write(path, record)
    try:
        yield metadata
    except StoppedError as stopped:
        record["outcome"], record["reason"] = "interrupted", str(stopped)
        raise
    except BaseException as error:
        record |= _failure(error)
        raise
    else:
        record["outcome"] = "complete"
    finally:
        # A stage may start MPI only once it works.
        _write(path, record | metadata | {"mpi_library": _mpi_library(), "ended": _now()})


def of_stage(run: Path, stage: str) -> list[dict[str, Any]]:
    """The records of a stage, in the order of their attempts; one that is not written yet is left out."""
    found = []
    for path in _paths(run / "records", stage):
        with suppress(OSError, ValueError):
            found.append(json.loads(path.read_text(encoding="utf-8")))
    return found


@contextmanager
def _telling_of_failure_alone(folder: Path, stage: str, rank: int) -> Iterator[None]:
    """Writes the reason of a failure that rank 0 has not had, and so cannot write."""
    try:
        yield
    except StoppedError:
        raise
    except Exception as error:
        # Rank 0 ends all ranks within this time if it fails too.
        time.sleep(1)
        with suppress(OSError, ValueError, IndexError):
            path = _paths(folder, stage)[-1]
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["outcome"] == "running":
                _write(path, record | _failure(error, f"rank {rank}: ") | {"ended": _now()})
        raise


def _failure(error: BaseException, prefix: str = "") -> dict[str, str]:
    """Return the record's keys of a failure; the traceback of every error but a user's mistake."""
    failure = {"outcome": "failed", "reason": f"{prefix}{type(error).__name__}: {error}"}
    if isinstance(error, Exception) and not isinstance(error, UserError):
        failure["traceback"] = "".join(traceback.format_exception(error))
    return failure


def _paths(folder: Path, stage: str) -> list[Path]:
    """The records of a stage in the order of their attempts."""
    return sorted(folder.glob(f"{stage}-*.json"))


def _claim_path(folder: Path, stage: str) -> Path:
    """An empty file behind the records that are there, for this process alone: jobs of an array start
    together.
    """
    taken = _paths(folder, stage)
    number = int(taken[-1].stem.rpartition("-")[2]) + 1 if taken else 0
    while True:
        path = folder / f"{stage}-{number:03d}.json"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return path


def _write(path: Path, record: dict[str, Any]) -> None:
    write_whole(path, json.dumps(record, indent=2))


def _versions() -> dict[str, str]:
    installed = {}
    for package in _PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def _mpi_library() -> str | None:
    """The MPI library, where this stage has loaded one."""
    mpi = sys.modules.get("mpi4py.MPI")
    return None if mpi is None else mpi.Get_library_version().split("\n")[0].strip("\x00 ")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
