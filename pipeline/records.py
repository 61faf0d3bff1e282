"""The run record: one JSON for each attempt at a stage, with all that tells how it was made."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
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
        yield facts
        return
    folder = writable_folder(settings.run / "records")
    path = folder / f"{stage}-{len(list(folder.glob(f'{stage}-*.json'))):03d}.json"
    write_whole(path, json.dumps(record, indent=2))
    try:
        yield facts
    except BaseException as error:
        record["outcome"], record["reason"] = "failed", f"{type(error).__name__}: {error}"
        raise
    else:
        record["outcome"] = "complete"
    finally:
        write_whole(path, json.dumps(record | facts | {"ended": _now()}, indent=2))


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
