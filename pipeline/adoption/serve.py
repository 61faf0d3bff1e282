"""A program that reads foreign files for another process, with limits of memory and time.

    python -P -m pipeline.adoption.serve

The first line of stdin is a JSON object with `source`, `format` and `description`. The program answers with
a line: the contents as JSON, or an error. Each further line is the number of a trajectory. The answer is a
line with the number of bytes, then the fields in the order of the contents, then the arrays, or an error.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # h5py may have been built with MPI. A process that a rank starts must not start MPI.
    with suppress(ImportError):
        import mpi4py

        mpi4py.rc.initialize = False

import numpy as np

from pipeline.adoption.description import Description
from pipeline.adoption.readers.choose import open_source
from pipeline.adoption.readers.reader import Reader, check_size
from simsurrogate.errors import UserError

#: The memory (bytes) for checks and contents: no hostile file makes the program allocate more.
INSPECTION_BYTES = 100 * 10**6
#: A table is read as a whole: a number takes 2 bytes of text or more, and 8 in memory, in a few copies.
_BYTES_PER_TABLE_BYTE = 24
_TRAJECTORY_COPIES = 6
#: The endings of files that neither NetCDF nor Zarr have.
_PLAIN_SUFFIXES = (".npy", ".npz", ".csv", ".hdf5")


def _limit(kind: int, limit: int) -> None:
    _, hard_limit = resource.getrlimit(kind)
    is_lower = hard_limit != resource.RLIM_INFINITY and hard_limit < limit
    # Some systems do not know some limits.
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (hard_limit if is_lower else limit, hard_limit))


def _address_space() -> int:
    """Return the address space that this process uses, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _largest_memory() -> int:
    """Return the largest memory of this process since its start, bytes; 0 if the system does not tell."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _import_libraries(source: Path, form: str | None) -> None:
    """Import what the readers of NetCDF and Zarr need, before the limits."""
    if form not in (None, "xarray") or source.suffix in _PLAIN_SUFFIXES:
        return
    import h5netcdf
    import scipy.io
    import xarray
    import zarr

    assert all((h5netcdf, scipy.io, xarray, zarr))


def _open(request: dict[str, Any], num_bytes: int) -> Reader:
    source = Path(request["source"])
    has_tables = source.suffix == ".csv" or request["format"] == "csv_particles"
    table_bytes = _BYTES_PER_TABLE_BYTE * num_bytes if has_tables else 0
    _limit(resource.RLIMIT_AS, _address_space() + INSPECTION_BYTES + table_bytes)
    description = Description.model_validate(request["description"])
    reader = open_source(source, request["format"], description)
    names = [field.name for field in reader.contents.fields]
    if len(set(names)) < len(names):
        repeated = next(name for index, name in enumerate(names) if name in names[:index])
        raise UserError(
            f"{source} names the field {repeated} more than once. Each field has a name of its own. Correct "
            "the file"
        )
    # Fields that do not vary along an axis are stored once and expanded here.
    trajectory_bytes = reader.contents.trajectory_bytes
    check_size(f"{source}: a trajectory", (trajectory_bytes // 8,), 8, num_bytes)
    needed = _TRAJECTORY_COPIES * trajectory_bytes + 2 * reader.extra_bytes
    _limit(resource.RLIMIT_AS, _address_space() + INSPECTION_BYTES * 5 + num_bytes + needed)
    return reader


def _send(reader: Reader, trajectory: int) -> None:
    values = reader.values(trajectory)
    parts = []
    for field in reader.contents.fields:
        with np.errstate(over="ignore"):
            parts.append(np.ascontiguousarray(values[field.name], field.dtype))
        expected_shape = reader.contents.shape(field)
        if parts[-1].shape != expected_shape:
            raise UserError(
                f"{field.name} of trajectory {trajectory} has the shape {parts[-1].shape}, {expected_shape} "
                "expected. All trajectories have the same shape. Correct the file"
            )
    parts += [
        np.ascontiguousarray(values[f"parameters/{name}"], np.float64) for name in reader.contents.arrays
    ]
    _answer({"bytes": sum(part.nbytes for part in parts)})
    for part in parts:
        sys.stdout.buffer.write(part.reshape(-1).view(np.uint8).data)
    sys.stdout.buffer.flush()


def _answer(document: dict[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(document, allow_nan=False).encode() + b"\n")
    sys.stdout.buffer.flush()


def _error(error: BaseException) -> dict[str, object]:
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    text = text.encode("ascii", "backslashreplace").decode()[:2000]
    return {"error": text, "is_for_user": isinstance(error, UserError)}


def main() -> None:
    """Answer the requests on stdin until its end."""
    for kind, limit in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        _limit(kind, limit)
    request = json.loads(sys.stdin.readline())
    _limit(resource.RLIMIT_CPU, request["cpu_seconds"])
    _import_libraries(Path(request["source"]), request["format"])
    start_memory = _largest_memory()
    try:
        reader = _open(request, request["num_bytes"])
        _answer({"contents": dataclasses.asdict(reader.contents)})
        for line in sys.stdin:
            _send(reader, int(line))
    except Exception as error:
        _answer(_error(error) | {"allocated_bytes": _largest_memory() - start_memory})
    # The library may fail when it closes a damaged file.
    os._exit(0)


if __name__ == "__main__":
    main()
