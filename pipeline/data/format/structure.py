"""The verification of a shard's structure: all of its file except the values of its trajectories.

A file from elsewhere is never opened by the HDF5 library of this process. The writer makes an empty shard in
a temporary folder, and the bytes of both structures are compared. Other releases of the HDF5 library write
other bytes. If the bytes differ, a process with limits compares the structures, see `compare_structures`.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from itertools import pairwise
from pathlib import Path

from typing_extensions import TypedDict  # pydantic reads it

from pipeline.data.format import compare_structures, hdf5
from pipeline.data.format.hdf5 import DatasetLocation
from pipeline.data.format.layout import DatasetLayout, Header, dataset_layouts, group_attributes
from simsurrogate.documents import parse_json
from simsurrogate.errors import UserError
from simsurrogate.files import open_regular

#: The largest difference in size between equal structures that two releases of the HDF5 library write.
_MAX_EXTRA_BYTES = 2**20
_CHUNK_BYTES = 2**20
#: The free space that a temporary shard needs, without its values and coordinates.
_FREE_BYTES = 2**23
#: The time-out of the comparison in another process, s; its processor time has a shorter limit.
_TIMEOUT_SECONDS = 50
#: The value `::` keeps the HDF5 library from loading plugins. Threads would need address space.
_VARIABLES = {"HDF5_PLUGIN_PRELOAD": "::", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_REMEDY = "Delete the file, and type the command of python -m pipeline.generate to regenerate it"


class _Comparison(TypedDict):
    """The output of the program `compare_structures`."""

    difference: str | None
    offsets: dict[str, int]


@dataclass(frozen=True)
class _Structure:
    """A verified structure: the locations of the datasets, and the checksum of all other bytes."""

    locations: dict[str, DatasetLocation]
    gaps: tuple[tuple[int, int], ...]
    checksum: str

    @classmethod
    def of(
        cls, file: BufferedReader, locations: dict[str, DatasetLocation], varying: list[str]
    ) -> _Structure:
        """Return the structure of a file."""
        bounds = sorted((locations[name].offset, locations[name].end) for name in varying)
        edges = [0, *(edge for interval in bounds for edge in interval), file.seek(0, os.SEEK_END)]
        gaps = tuple(zip(edges[::2], edges[1::2], strict=True))
        return cls(locations, gaps, _checksum(file, gaps))

    @property
    def size(self) -> int:
        """The size of the file, bytes."""
        return self.gaps[-1][1]

    def is_structure_of(self, path: Path) -> bool:
        """Return whether a file has this structure."""
        if path.stat().st_size != self.size:
            return False
        with open_regular(path) as file:
            return _checksum(file, self.gaps) == self.checksum


class Structures:
    """The structures of the shards of one data set; see the module.

    Args:
        header: the description that all shards share.
    """

    def __init__(self, header: Header):
        self.header = header
        self._written: dict[tuple[int, str], _Structure] = {}
        self._verified: dict[tuple[int, str], _Structure] = {}

    def locations(self, path: Path, rows: int) -> dict[str, DatasetLocation]:
        """Return the locations of the datasets of a shard with this number of rows.

        Raises:
            UserError: the file has another structure.
        """
        layouts = dataset_layouts(self.header, rows, path.name)
        varying = [name for name, layout in layouts.items() if layout.is_varying and not layout.link]
        num_bytes = sum(layout.num_bytes for layout in layouts.values() if not layout.link)
        size, key = path.stat().st_size, (rows, path.name if path.name in self.header.links else "")
        if num_bytes > size:
            raise _error(path, f"the file has {size} bytes, and its values have {num_bytes} bytes")
        if key not in self._written:
            with self._empty_shard(path, rows, layouts) as empty_shard:
                own_locations = hdf5.dataset_locations(empty_shard, layouts)
                with empty_shard.open("rb") as file:
                    self._written[key] = _Structure.of(file, own_locations, varying)
        for known in (self._written, self._verified):
            if key in known and known[key].is_structure_of(path):
                return known[key].locations
        if abs(size - self._written[key].size) > _MAX_EXTRA_BYTES:
            raise _error(path, f"{size} bytes found, about {self._written[key].size} bytes expected")
        with self._empty_shard(path, rows, layouts) as empty_shard:
            offsets = _compared_offsets(empty_shard, path, varying)
        locations = {name: hdf5.location_of(name, layout, offsets[name]) for name, layout in layouts.items()}
        _refuse_overlaps(path, {name: place for name, place in locations.items() if not place.link})
        with open_regular(path) as file:
            self._verified[key] = _Structure.of(file, locations, varying)
        return locations

    @contextmanager
    def _empty_shard(self, path: Path, rows: int, layouts: dict[str, DatasetLayout]) -> Iterator[Path]:
        """Yield a temporary shard without values, with the structure that is expected of the shard `path`."""
        num_constant_bytes = sum(layout.num_bytes for layout in layouts.values() if not layout.is_varying)
        with tempfile.TemporaryDirectory(prefix="simsurrogate-") as folder:
            _refuse_full_disk(path, folder, _FREE_BYTES + num_constant_bytes)
            empty_shard = Path(folder) / "shard.hdf5"
            try:
                hdf5.make_skeleton(empty_shard, group_attributes(self.header, rows), layouts)
                hdf5.set_attribute(empty_shard, "complete", True)
            # The manifest may have been changed to describe a file that cannot be written.
            except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
                message = f"{type(error).__name__}: {error}"
                raise _error(path, f"a shard of this description cannot be written ({message})") from error
            yield empty_shard


def _refuse_full_disk(path: Path, folder: str, needed: int) -> None:
    """Raise `UserError` where a temporary copy of the structure of a shard cannot be written.

    The HDF5 library does not recover from a failed write, and may crash later.
    """
    limit, free = resource.getrlimit(resource.RLIMIT_FSIZE)[0], shutil.disk_usage(folder).free
    is_limited = limit != resource.RLIM_INFINITY and limit < path.stat().st_size + _MAX_EXTRA_BYTES
    if is_limited or free < needed:
        reason = f"ulimit -f allows files of {limit} bytes only" if is_limited else f"{free} bytes are free"
        raise UserError(
            f"{path} cannot be verified in {folder}: {reason}. The verification writes a sparse file of the "
            f"size of the shard with {needed} bytes. Raise the limit, or name a folder with space by TMPDIR"
        )


def _checksum(file: BufferedReader, intervals: tuple[tuple[int, int], ...]) -> str:
    """Return the checksum of some intervals of a file."""
    checksum = hashlib.sha256()
    for start, stop in intervals:
        file.seek(start)
        for offset in range(start, stop, _CHUNK_BYTES):
            checksum.update(file.read(min(_CHUNK_BYTES, stop - offset)))
    return checksum.hexdigest()


def _compared_offsets(empty_shard: Path, path: Path, varying: list[str]) -> dict[str, int]:
    """Return the offsets of the datasets of a file that has the structure of `empty_shard`.

    Raises:
        UserError: the file has another structure, or the comparison fails.
    """
    program = str(Path(compare_structures.__file__))
    try:
        result = subprocess.run(
            [sys.executable, "-P", program, str(empty_shard), str(path)],
            input=json.dumps(varying),
            capture_output=True,
            text=True,
            errors="replace",
            env=os.environ | _VARIABLES,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _error(path, f"the HDF5 library takes more than {_TIMEOUT_SECONDS} s to read it") from None
    if result.returncode < 0:
        name = signal.Signals(-result.returncode).name
        raise _error(path, f"the HDF5 library ends with {name} when it reads the file")
    if result.returncode:
        last_line = (result.stderr.splitlines() or ["no message"])[-1]
        raise _error(path, f"the comparison with the expected structure fails: {last_line}")
    comparison = parse_json(result.stdout, _Comparison, f"the comparison of {path}", _REMEDY)
    if comparison["difference"] is not None:
        raise _error(path, comparison["difference"])
    return comparison["offsets"]


def _refuse_overlaps(path: Path, locations: dict[str, DatasetLocation]) -> None:
    """Raise `UserError` for datasets that overlap or end outside of the file."""
    size = path.stat().st_size
    ordered = sorted(locations.items(), key=lambda item: (item[1].offset, item[1].end))
    for name, location in ordered:
        if not 0 <= location.offset <= location.end <= size:
            raise _error(path, f"{name} ends at byte {location.end} by its declaration, {size} bytes found")
    for (first_name, first), (second_name, second) in pairwise(ordered):
        if first.end > second.offset:
            raise _error(path, f"{first_name} and {second_name} overlap")


def _error(path: Path, difference: str) -> UserError:
    return UserError(
        f"{path} has another structure than the shards of its data set: {difference}. "
        f"A shard has the structure that python -m pipeline.generate writes. {_REMEDY}"
    )
