"""Plain arrays: `.npy` files and the members of an `.npz` file, by default (trajectory, time, *axes)."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.adoption.contents import Contents, FoundAxis, FoundField, FoundParameter, Location, MappableRows
from pipeline.adoption.description import Description
from pipeline.adoption.readers.reader import Reader, check_size, listed, number_type, regular_files
from simsurrogate.errors import UserError

_TIME_NAMES = ("time", "times", "t")
_MAX_HEADER = 2**14
_MAX_MEMBERS = 2**12


@dataclass(frozen=True)
class _Array:
    """An array on disk: its values are mapped, or read from a member of an archive."""

    name: str
    path: Path
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool
    offset: int

    def values(self) -> np.ndarray:
        order: Any = "F" if self.is_fortran else "C"
        if self.member is None:
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)
        num_bytes = math.prod(self.shape) * self.dtype.itemsize
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            file.read(self.offset)
            content = file.read(num_bytes)
        return np.frombuffer(content, self.dtype).reshape(self.shape, order=order)


def arrays_in(path: Path) -> dict[str, _Array]:
    """Return the arrays of an `.npy` file, an `.npz` file or a folder of `.npy` files, by name.

    Only headers are read.

    Raises:
        UserError: a file is damaged, or holds something else than numbers.
    """
    if path.is_dir():
        files = [file for file in regular_files(path) if file.suffix == ".npy"]
    elif path.suffix == ".npz":
        return {array.name: array for array in _members(path)}
    else:
        files = [path]
    arrays = {}
    for file_path in files:
        with file_path.open("rb") as file:
            arrays[file_path.stem] = _array(file, file_path, None, file_path.stat().st_size, file_path.stem)
    return arrays


def _members(path: Path) -> Iterator[_Array]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path} is not a readable .npz file: {error}. Only whole files are read. Copy the file again"
        ) from None
    with archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        if len(members) > _MAX_MEMBERS:
            raise UserError(
                f"{path} has {len(members)} arrays. At most {_MAX_MEMBERS} arrays are allowed. Use another "
                "file"
            )
        for member in members:
            name = f"{path}: {member.filename}"
            check_size(name, (member.file_size,), 1, member.compress_size)
            try:
                with archive.open(member) as file:
                    head = io.BytesIO(file.read(_MAX_HEADER + 16))
            except (zipfile.BadZipFile, RuntimeError, OSError, NotImplementedError, ValueError) as error:
                raise UserError(f"{name} cannot be read: {error}. Copy the file again") from None
            stem = member.filename.removesuffix(".npy")
            yield _array(head, path, member.filename, member.file_size, stem)


def _array(file: IO[bytes], path: Path, member: str | None, size: int, stem: str) -> _Array:
    name = f"{path}: {member}" if member else str(path)
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read(file, max_header_size=_MAX_HEADER)
    except Exception as error:
        raise UserError(
            f"{name} has no readable header of a NumPy array: {error}. Write it with numpy.save or "
            "numpy.savez"
        ) from None
    number_type(name, dtype)
    offset = file.tell()
    if any(length < 0 for length in shape) or math.prod(shape) * dtype.itemsize != size - offset:
        raise UserError(
            f"{name} declares the shape {shape} of {dtype}, and has {size - offset} bytes of values. Both "
            "have to agree. Copy the file again"
        )
    return _Array(stem, path, member, shape, dtype, is_fortran, offset)


class ArraysReader(Reader):
    """The reader of the arrays of one source."""

    def __init__(self, path: Path, description: Description):
        self._path, self._description = path, description
        arrays = arrays_in(path)
        axes = list(description.axes)
        if not axes:
            raise UserError(
                f"{path} holds arrays without named axes: {_listing(arrays)}. The axes of space have to be "
                f"named. Add axes: {{x: {{unit: m, extent: 1.0, boundary: periodic}}}} to the description"
            )
        order = description.order or ["trajectory", "time", *axes]
        sources = description.wanted_sources
        if len(arrays) == 1 and len(description.fields) == 1 and sources[0] not in arrays:
            (array,) = arrays.values()
            arrays = {sources[0]: array}
        self._axes, self._order = axes, order
        self._check_order()
        self._plans = {
            name: plan
            for name, array in arrays.items()
            for name, plan in self._plans_of(name, array)
            if not sources or name in sources
        }
        if not any("time" in plan.dimensions for plan in self._plans.values()):
            raise UserError(
                f"{path} holds no array with the axes {', '.join(order)}. It holds {_listing(arrays)}. Name "
                "the axes by order: [...] and the arrays under fields in the description"
            )
        sizes = self._sizes()
        vectors = {name: array for name, array in arrays.items() if len(array.shape) == 1}
        times = next((vectors[name] for name in _TIME_NAMES if name in vectors), None)
        self._cache: dict[str, np.ndarray] = {}
        needed = {plan.array.name: plan.array for plan in self._plans.values() if plan.array.member}
        self.extra_bytes = sum(math.prod(array.shape) * array.dtype.itemsize for array in needed.values())
        reserved = {*axes, *_TIME_NAMES}
        wanted = description.parameters
        self.contents = Contents(
            layout="NumPy arrays",
            num_trajectories=sizes["trajectory"],
            fields=[
                FoundField(
                    name,
                    len(axes) if "component" in plan.dimensions else 0,
                    "time" not in plan.dimensions,
                    number_type(name, plan.array.dtype),
                )
                for name, plan in self._plans.items()
            ],
            axes=[
                FoundAxis(name, sizes[name], points=_points(vectors.get(name), sizes[name])) for name in axes
            ],
            times=_points(times, sizes["time"]),
            num_frames=sizes["time"],
            parameters=[
                FoundParameter(name, listed(name, np.asarray(array.values())))
                for name, array in vectors.items()
                if array.shape == (sizes["trajectory"],)
                and name not in reserved
                and (not wanted or name in wanted)
            ],
            rows=[MappableRows(sizes["trajectory"], self._locations())],
        )

    def _locations(self) -> dict[str, Location]:
        """Return the fields whose arrays have the axes of a shard's fields, in files of their own."""
        target = ("trajectory", "time", *self._axes, "component")
        return {
            name: Location(str(plan.array.path), plan.array.offset)
            for name, plan in self._plans.items()
            if plan.array.member is None
            and not plan.array.is_fortran
            and plan.array.dtype == np.dtype(number_type(name, plan.array.dtype))
            and plan.dimensions == tuple(axis for axis in target if axis in plan.dimensions)
        }

    def _check_order(self) -> None:
        allowed = {"trajectory", "time", "channel", *self._axes}
        needed = {"trajectory", "time", *self._axes}
        if len(set(self._order)) < len(self._order) or not needed <= set(self._order) <= allowed:
            raise UserError(
                f"order={self._order} does not name each axis once. The names trajectory, time, "
                f"{', '.join(self._axes)} and, if there is one, channel are allowed. Correct order in the "
                "description"
            )

    def _plans_of(self, name: str, array: _Array) -> Iterator[tuple[str, _Plan]]:
        """Yield the fields in an array: by its channels, or one scalar, vector or constant field."""
        num_axes, order = len(self._axes), self._order
        if len(array.shape) == len(order):
            if "channel" not in order:
                yield name, _Plan(array, tuple(order), None)
                return
            for index in range(min(array.shape[order.index("channel")], 2**10)):
                yield f"{name}_{index}", _Plan(array, tuple(order), index)
        elif len(array.shape) == len(order) + 1 and array.shape[-1] == num_axes and "channel" not in order:
            yield name, _Plan(array, (*order, "component"), None)
        elif len(array.shape) == num_axes + 1:
            dimensions = tuple(axis for axis in order if axis not in ("time", "channel"))
            yield name, _Plan(array, dimensions, None)

    def _sizes(self) -> dict[str, int]:
        """Return the number of trajectories, frames and sites, which all arrays share."""
        sizes: dict[str, tuple[int, str]] = {}
        for name, plan in self._plans.items():
            for dimension, size in zip(plan.dimensions, plan.array.shape, strict=True):
                if dimension in ("channel", "component"):
                    continue
                first_size, first_name = sizes.setdefault(dimension, (size, name))
                if first_size != size:
                    raise UserError(
                        f"{self._path}: {first_name} has {first_size} and {name} has {size} along the axis "
                        f"{dimension}. All fields have the same axes. Correct the arrays, or list the fields "
                        "that belong together under fields in the description"
                    )
        return {dimension: size for dimension, (size, _) in sizes.items()}

    def values(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return the fields ([T,] *sites[, D]) of a trajectory by name."""
        return {name: self._field(plan, trajectory) for name, plan in self._plans.items()}

    def _field(self, plan: _Plan, trajectory: int) -> np.ndarray:
        if plan.array.name not in self._cache:
            self._cache[plan.array.name] = plan.array.values()
        values, dimensions = self._cache[plan.array.name], list(plan.dimensions)
        for name, index in (("trajectory", trajectory), ("channel", plan.channel)):
            if name in dimensions:
                values = values.take(index or 0, axis=dimensions.index(name))
                dimensions.remove(name)
        target = [name for name in ("time", *self._axes, "component") if name in dimensions]
        return values.transpose([dimensions.index(name) for name in target])


@dataclass(frozen=True)
class _Plan:
    """A field in an array: the names of the array's axes, and the index along the axis of the channels."""

    array: _Array
    dimensions: tuple[str, ...]
    channel: int | None


def _points(array: _Array | None, size: int) -> list[float] | None:
    return None if array is None or array.shape != (size,) else listed(array.name, np.asarray(array.values()))


def _listing(arrays: Mapping[str, _Array]) -> str:
    return ", ".join(f"{name} {array.dtype}{array.shape}" for name, array in arrays.items()) or "no array"
