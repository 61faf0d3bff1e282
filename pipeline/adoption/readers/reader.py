"""The contract of readers, checks that they share, and several files as one."""

from __future__ import annotations

import bisect
import itertools
import math
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.adoption.contents import Contents, FoundParameter
from simsurrogate.errors import UserError

#: Arrays of fewer bytes are read even if their file is smaller, for example compressed.
_SMALL_BYTES = 2**26
#: The largest ratio of the bytes of an array to its bytes on disk. Deflate reaches 1032 for equal values.
_MAX_RATIO = 200
#: The largest number of coordinates or parameters that are sent as a document.
MAX_LISTED = 2**20


class Reader(ABC):
    """The reader of one source, opened and checked.

    Attributes:
        contents: the description of the content.
        extra_bytes: the memory that the reader needs besides one trajectory.
    """

    contents: Contents
    extra_bytes: int = 0

    @abstractmethod
    def values(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return the fields ([T,] *sites[, D]) and the arrays of a trajectory by name."""


def check_size(name: str, shape: Sequence[int], itemsize: int, stored_bytes: int) -> None:
    """Refuse an array that declares far more bytes than are stored.

    Raises:
        UserError: the array is too large.
    """
    declared_bytes = math.prod(shape) * itemsize
    if declared_bytes > _SMALL_BYTES and declared_bytes > _MAX_RATIO * stored_bytes:
        raise UserError(
            f"{name} declares {declared_bytes} bytes by its shape {tuple(shape)}, and has {stored_bytes} "
            f"bytes on disk. At most {_MAX_RATIO} times the bytes on disk are allowed. Use another file"
        )


def number_type(name: str, dtype: np.dtype[Any]) -> Literal["float32", "float64"]:
    """Return the type in which the values of an array are adopted.

    Raises:
        UserError: the values are no real numbers.
    """
    if dtype.hasobject or dtype.kind not in "fiub" or dtype.itemsize > 8:
        found = "objects" if dtype.hasobject else f"the type {dtype}"
        raise UserError(
            f"{name} has {found} as values. Only real numbers of at most 64 bits are read. Store the "
            "values as float32 or float64"
        )
    return "float32" if dtype.kind == "f" and dtype.itemsize <= 4 else "float64"


def listed(name: str, values: np.ndarray) -> list[float]:
    """Return a vector of numbers as a list.

    Raises:
        UserError: it is too long, or is no vector of finite numbers.
    """
    number_type(name, values.dtype)
    if values.ndim != 1 or values.size > MAX_LISTED or not np.isfinite(values).all():
        raise UserError(
            f"{name} has the shape {values.shape}, or values that are not finite. A vector of at most "
            f"{MAX_LISTED} finite numbers is allowed. Use another file"
        )
    return [float(value) for value in values]


def equal_times(name: str, times: np.ndarray) -> list[float]:
    """Return the times (T,) that all rows of `times` (N, T) share.

    Raises:
        UserError: two trajectories have different times.
    """
    if not np.allclose(times, times[:1], rtol=1e-5, atol=1e-5 * float(np.abs(times[:1]).max())):
        raise UserError(
            f"{name} differs between trajectories. All trajectories of a data set have the same times. "
            "Write the trajectories of each set of times to a source of their own"
        )
    return listed(name, times[0])


def regular_files(folder: Path, max_files: int = 2**17) -> Iterator[Path]:
    """Yield all files below a folder, in order.

    Raises:
        UserError: a link, a pipe or a device lies there, or too many files.
    """
    count = 0
    for path_text, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted([*folders, *names]):
            path = Path(path_text) / name
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise UserError(
                    f"{path} is a link, a pipe or a device. Only regular files are read. Put the file itself "
                    "in this place"
                )
            if stat.S_ISREG(mode):
                count += 1
                yield path
        if count > max_files:
            raise UserError(
                f"{folder} has more than {max_files} files. Fewer files are allowed. Name a smaller folder"
            )


def joined(readers: Sequence[Reader], names: Sequence[str], splits: Sequence[str | None]) -> Reader:
    """Return one reader of the trajectories of several files, which have the same fields, axes and times.

    Args:
        readers: the readers.
        names: the name of each file, for messages.
        splits: the split of each file; None for files without splits. Files of a split are neighbours.

    Raises:
        UserError: two files disagree.
    """
    for reader, name in zip(readers[1:], names[1:], strict=True):
        if difference := _difference(readers[0].contents, reader.contents):
            what, first, second = difference
            raise UserError(
                f"{names[0]} and {name} disagree in their {what}: {first} and {second}. All files of a data "
                "set have the same fields, axes and times. Adopt each group of files by itself"
            )
    counts: dict[str, int] = {}
    if all(splits):
        for reader, split in zip(readers, splits, strict=True):
            counts[str(split)] = counts.get(str(split), 0) + reader.contents.num_trajectories
    return _Joined(readers, counts)


def _difference(first: Contents, second: Contents) -> tuple[str, object, object] | None:
    """Return the first property in which two files disagree, with both values."""
    pairs: list[tuple[str, object, object]] = [
        ("layout", first.layout, second.layout),
        ("fields", [item.name for item in first.fields], [item.name for item in second.fields]),
    ]
    for item, other in zip(first.fields, second.fields, strict=False):
        pairs += [
            (f"{name} of the field {item.name}", getattr(item, name), getattr(other, name))
            for name in ("components", "is_constant", "dtype", "unit")
        ]
    pairs.append(("axes", [axis.name for axis in first.axes], [axis.name for axis in second.axes]))
    for axis, other_axis in zip(first.axes, second.axes, strict=False):
        pairs += [
            (f"{name} of the axis {axis.name}", getattr(axis, name), getattr(other_axis, name))
            for name in ("size", "unit", "boundary", "boundary_values")
        ]
    pairs += [
        ("number of frames", first.num_frames, second.num_frames),
        ("unit of time", first.time_unit, second.time_unit),
        ("parameters", [item.name for item in first.parameters], [item.name for item in second.parameters]),
        ("arrays", first.arrays, second.arrays),
    ]
    different = next((pair for pair in pairs if pair[1] != pair[2]), None)
    if different:
        return different
    axes = zip(first.axes, second.axes, strict=True)
    points = [(f"coordinates {axis.name}", axis.points, other.points) for axis, other in axes]
    for name, values, other_values in [*points, ("times", first.times, second.times)]:
        if (values is None) != (other_values is None):
            return name, values is not None, other_values is not None
        if values and other_values and not np.allclose(values, other_values, rtol=1e-5, atol=0):
            return name, f"{values[0]:g} to {values[-1]:g}", f"{other_values[0]:g} to {other_values[-1]:g}"
    return None


class _Joined(Reader):
    def __init__(self, readers: Sequence[Reader], splits: dict[str, int]):
        self._readers = readers
        counts = [reader.contents.num_trajectories for reader in readers]
        self._starts = [0, *itertools.accumulate(counts)]
        self.extra_bytes = sum(reader.extra_bytes for reader in readers)
        first = readers[0].contents
        columns = [
            [reader.contents.parameters[index] for reader in readers]
            for index in range(len(first.parameters))
        ]
        self.contents = Contents(
            **{
                **{name: getattr(first, name) for name in Contents.__dataclass_fields__},
                "num_trajectories": sum(counts),
                "parameters": [
                    FoundParameter(
                        parts[0].name,
                        [value for part in parts for value in part.values],
                        parts[0].unit,
                        parts[0].description,
                    )
                    for parts in columns
                ],
                "splits": splits,
                "rows": [rows for reader in readers for rows in reader.contents.rows],
                "notes": list(dict.fromkeys(note for reader in readers for note in reader.contents.notes)),
            }
        )

    def values(self, trajectory: int) -> dict[str, np.ndarray]:
        position = bisect.bisect_right(self._starts, trajectory) - 1
        return self._readers[position].values(trajectory - self._starts[position])
