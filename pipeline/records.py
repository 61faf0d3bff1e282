"""The run record: one JSON for each attempt at a stage, with all that tells how it was made."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.data.files import writable_folder, write_whole
from pipeline.parallel.launch import detect
from pipeline.settings import Settings

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


@contextmanager
def attempt(settings: Settings, stage: str) -> Iterator[dict[str, Any]]:
    """Writes `RUN/records/STAGE-NNN.json` on rank 0, when the stage starts and again when it ends.

    What the stage puts into the yielded mapping stands in the record; `outcome` is `running`,
    `complete`, or `failed` with the reason.

    Raises:
        ValueError: the run folder cannot be written.
    """
    launch = detect()
    facts: dict[str, Any] = {}
    record = {
        "stage": stage,
        "outcome": "running",
        "started": _now(),
        "command": sys.argv,
        "configuration": settings.model_dump(mode="json"),
        "versions": {"python": platform.python_version()} | _versions(),
        "mpi_library": _mpi_library(),
        "launcher": launch.launcher,
        "ranks": launch.size,
        "host": platform.node(),
    }
    if launch.rank != 0:
        with _telling_of_failure_alone(settings.run / "records", stage, launch.rank):
            yield facts
        return
    path = _next_path(writable_folder(settings.run / "records"), stage)
    _write(path, record)
    try:
        yield facts
    except BaseException as error:
        record["outcome"], record["reason"] = "failed", f"{type(error).__name__}: {error}"
        raise
    else:
        record["outcome"] = "complete"
    finally:
        # A stage may start MPI only once it works.
        _write(path, record | facts | {"mpi_library": _mpi_library(), "ended": _now()})


@contextmanager
def _telling_of_failure_alone(folder: Path, stage: str, rank: int) -> Iterator[None]:
    """Writes the reason of a failure that rank 0 has not had, and so cannot write."""
    try:
        yield
    except Exception as error:
        # Rank 0 ends all ranks within this time if it fails too.
        time.sleep(1)
        with suppress(OSError, ValueError, IndexError):
            path = _paths(folder, stage)[-1]
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["outcome"] == "running":
                reason = f"rank {rank}: {type(error).__name__}: {error}"
                _write(path, record | {"outcome": "failed", "reason": reason, "ended": _now()})
        raise


def _paths(folder: Path, stage: str) -> list[Path]:
    """The records of a stage in the order of their attempts."""
    return sorted(folder.glob(f"{stage}-*.json"))


def _next_path(folder: Path, stage: str) -> Path:
    """The place of the record behind those that are there."""
    taken = _paths(folder, stage)
    number = int(taken[-1].stem.rpartition("-")[2]) + 1 if taken else 0
    return folder / f"{stage}-{number:03d}.json"


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
