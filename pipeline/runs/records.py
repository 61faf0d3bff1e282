"""Run records: one JSON file for each attempt at a stage, with configuration, versions and outcome."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.parallel.launch import detect
from pipeline.parallel.stopping import StoppedError
from pipeline.runs import cost
from pipeline.runs.folder import RunFolder
from pipeline.runs.liveness import is_dead, process_identity
from pipeline.runs.record_document import read_record
from simsurrogate.errors import UserError
from simsurrogate.files import is_read_only, remove_partials, writable_folder, write_whole
from simsurrogate.storage import storage_error

_PACKAGES = ("simsurrogate", "mpi4py", "h5py", "numpy", "scipy", "numba", "torch", "deepxde", "hydra-core")

#: Slurm's variables in a job, by their keys in the record.
_SLURM_VARIABLES = {
    "job": "SLURM_JOB_ID",
    "array_job": "SLURM_ARRAY_JOB_ID",
    "array_task": "SLURM_ARRAY_TASK_ID",
    "restarts": "SLURM_RESTART_COUNT",
    "partition": "SLURM_JOB_PARTITION",
    "nodes": "SLURM_JOB_NODELIST",
}

#: The shortest time (s) between two writes of the progress to the record.
_PROGRESS_SECONDS = 5.0


class Metadata(dict[str, Any]):
    """The entries that a stage adds to its record."""

    def __init__(self, write: Callable[[], None]):
        super().__init__()
        self._write = write
        self._last_write = -math.inf

    def started(self, nodes: Mapping[str, int]) -> None:
        """Record the number of ranks on each node, once all ranks have started and listen to SIGUSR1."""
        self["nodes"] = dict(nodes)
        self._write()

    def progress(self, done: int, total: int, unit: str) -> None:
        """Record the progress of the stage; the file is updated at the first, then every few seconds.

        A job that loses a node starts again only if its record shows progress.
        """
        before = self.get("progress", {"start": done, "done": done})
        start = before["start"]
        self["progress"] = {"start": start, "done": done, "total": total, "unit": unit}
        is_first = before["done"] == start < done
        if is_first or time.monotonic() - self._last_write > _PROGRESS_SECONDS:
            self._last_write = time.monotonic()
            self._write()


@contextmanager
def run_record(stage: str, run_folder: RunFolder, configuration: Mapping[str, object]) -> Iterator[Metadata]:
    """Write `RUN/records/STAGE-NNN.json` on rank 0, at the start and again at the end of the stage.

    The record holds the configuration and the entries of the yielded mapping. The `outcome` is `running`,
    `complete`, `interrupted`, `failed` or `killed`. Records with one of the last three outcomes have a
    `reason`. An error other than a user's mistake also adds its `traceback`. If several ranks fail, the
    record holds the first failure. The next attempt at the stage marks attempts whose process died without a
    report. A run folder that this process may not write gets no record.

    Raises:
        UserError: the run folder cannot be written, or holds a link.
    """
    launch, folder = detect(), run_folder.records
    cores, start_seconds = cost.allocated_cores(launch.size), time.monotonic()
    record: dict[str, Any] = {
        "stage": stage,
        "outcome": "running",
        "started": _current_time(),
        "command": sys.argv,
        "configuration": dict(configuration),
        "versions": {"python": platform.python_version()} | _versions(),
        "mpi_library": _mpi_library(),
        "launcher": launch.launcher,
        "ranks": launch.size,
        "cores": cores,
        **process_identity(),
        "slurm": {
            name: os.environ[variable]
            for name, variable in _SLURM_VARIABLES.items()
            if variable in os.environ
        },
    }
    if launch.rank != 0:
        with _record_own_failure(folder, stage, launch.rank):
            yield Metadata(lambda: None)
        return
    run_folder.refuse_links()
    if is_read_only(run_folder.path):
        print(f"note: {run_folder.path} is not writable, so {stage} leaves no record", file=sys.stderr)
        yield Metadata(lambda: None)
        return
    _mark_dead_attempts(writable_folder(folder), stage)
    path = _create_record_file(folder, stage, record)
    metadata = Metadata(lambda: _write(path, record | metadata))
    try:
        yield metadata
    except StoppedError as stopped:
        record["outcome"], record["reason"] = "interrupted", str(stopped)
        raise
    except BaseException as error:
        record |= _earlier_failure(path, error) or _failure(error)
        raise
    else:
        record["outcome"] = "complete"
    finally:
        core_hours = round(cost.of_cores(cores, time.monotonic() - start_seconds), 6)
        # A stage may start MPI after the record was opened.
        end = {"mpi_library": _mpi_library(), "ended": _current_time(), "core_hours": core_hours}
        _write(path, record | metadata | end)


def of_stage(run: Path, stage: str, after: int = -1) -> list[dict[str, Any]]:
    """Return the records of a stage with numbers above `after`, in the order of their attempts.

    Damaged records are skipped with a note.
    """
    records = []
    for path in _paths(RunFolder.at(run).records, stage):
        if _number(path) <= after:
            continue
        try:
            # A record is empty for a moment after its creation.
            if not path.is_file() or path.stat().st_size:
                record = read_record(path)
                records.append(record | _death(record))
        except (OSError, UserError) as error:
            _note(str(error))
    return records


@cache
def _note(text: str) -> None:
    """Print a note, once in a process."""
    print(f"note: {text}", file=sys.stderr, flush=True)


def last_number(run: Path, stage: str) -> int:
    """Return the number of the newest attempt at a stage, or -1 without attempts."""
    paths = _paths(RunFolder.at(run).records, stage)
    return _number(paths[-1]) if paths else -1


def record_path(run: Path, stage: str, number: int) -> Path:
    """Return the path of the record of an attempt at a stage."""
    return RunFolder.at(run).records / f"{stage}-{number:03d}.json"


@contextmanager
def _record_own_failure(folder: Path, stage: str, rank: int) -> Iterator[None]:
    """Write the reason of a failure on a rank other than 0, before rank 0 notices that this rank left."""
    try:
        yield
    except StoppedError:
        raise
    except Exception as error:
        failure = _failure(error, f"rank {rank}: ")
        _replace_running(folder, stage, failure)
        # Rank 0 may have written its progress over the failure, and ends all ranks within this time if it
        # fails too.
        time.sleep(1)
        _replace_running(folder, stage, failure)
        raise


def _replace_running(folder: Path, stage: str, failure: Mapping[str, str]) -> None:
    """Add a failure to the newest record of this command line, if the record is still `running`."""
    for path in reversed(_paths(folder, stage)):
        with suppress(OSError, ValueError, KeyError):
            record = read_record(path)
            if record["command"] == sys.argv:
                if record["outcome"] == "running":
                    _write(path, record | dict(failure) | {"ended": _current_time()})
                return


def _earlier_failure(path: Path, error: BaseException) -> dict[str, str]:
    """Return the failure of another rank in the record, unless all ranks share the error."""
    with suppress(OSError, ValueError):
        record = read_record(path)
        reason = str(record.get("reason", ""))
        if record.get("outcome") == "failed" and not reason.endswith(_failure(error)["reason"]):
            return {name: str(record[name]) for name in ("outcome", "reason", "traceback") if name in record}
    return {}


def _mark_dead_attempts(folder: Path, stage: str) -> None:
    """Write the outcome of attempts whose process died without a report."""
    for path in _paths(folder, stage):
        with suppress(OSError, ValueError):
            record = read_record(path)
            death = _death(record)
            if death:
                remove_partials(folder, [path.name])
                _write(path, record | death)


def _death(record: Mapping[str, object]) -> dict[str, str]:
    """Return the outcome and the reason of an attempt whose process died, and nothing for other attempts."""
    if record.get("outcome") != "running" or not is_dead(record):
        return {}
    reason = (
        f"process {record.get('process')} on {record.get('host')} ended without a report: it was "
        "killed, or the machine stopped"
    )
    return {"outcome": "killed", "reason": reason}


def _failure(error: BaseException, prefix: str = "") -> dict[str, str]:
    """Return the record's keys of a failure, with a traceback unless it is a user's mistake."""
    failure = {"outcome": "failed", "reason": f"{prefix}{type(error).__name__}: {error}"}
    if isinstance(error, Exception) and not isinstance(error, UserError):
        failure["traceback"] = "".join(traceback.format_exception(error))
    return failure


def _paths(folder: Path, stage: str) -> list[Path]:
    """Return the paths of a stage's records in the order of their attempts."""
    paths = folder.glob(f"{stage}-*.json")
    return sorted((path for path in paths if re.fullmatch(rf"{stage}-\d{{3,}}", path.stem)), key=_number)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _create_record_file(folder: Path, stage: str, record: Mapping[str, object]) -> Path:
    """Write the next record and return its path.

    The file is opened exclusively, because the jobs of an array start together. The record is written without
    a temporary file: a process that is killed here would leave the temporary file for good.
    """
    record_paths = _paths(folder, stage)
    attempt_number = _number(record_paths[-1]) + 1 if record_paths else 0
    while True:
        path = folder / f"{stage}-{attempt_number:03d}.json"
        try:
            with path.open("xb") as file:
                file.write(_encoded(record))
        except FileExistsError:
            attempt_number += 1
        except OSError as error:
            raise storage_error(path, 0, error, "run it again, or choose another folder with run=") from error
        else:
            return path


def _write(path: Path, record: Mapping[str, object]) -> None:
    write_whole(path, _encoded(record))


def _encoded(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, indent=2).encode()


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _mpi_library() -> str | None:
    """Return the MPI library, if this stage has loaded one."""
    mpi_module = sys.modules.get("mpi4py.MPI")
    return None if mpi_module is None else mpi_module.Get_library_version().split("\n")[0].strip("\x00 ")


def _current_time() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
