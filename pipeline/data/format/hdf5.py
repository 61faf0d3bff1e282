"""HDF5 files of contiguous datasets: their creation without values, and their safe reading.

Values are read and written at their offsets in the file, without the HDF5 library. A file from an untrusted
source is refused if one of its objects could lead outside of the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.data.format.layout import Attributes, AttributeValue, DatasetLayout
from simsurrogate.errors import UserError
from simsurrogate.files import open_regular

_ALIGNMENT = 64
_REMEDY = "Generate the shard again with python -m pipeline.generate"


@dataclass(frozen=True)
class DatasetLocation:
    """The offset, shape and type of a dataset's values in its file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def num_bytes(self) -> int:
        """The bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """The bytes between neighbouring elements along each axis."""
        return tuple(
            math.prod(self.shape[axis + 1 :]) * self.dtype.itemsize for axis in range(len(self.shape))
        )


def make_skeleton(path: Path, groups: dict[str, Attributes], layouts: dict[str, DatasetLayout]) -> None:
    """Write a file without its trajectories; the space for their values is allocated and empty."""
    with h5py.File(path, "w", locking=False, alignment_threshold=1, alignment_interval=_ALIGNMENT) as file:
        for group, group_attributes in groups.items():
            file.require_group(group).attrs.update(group_attributes)
        for name, layout in layouts.items():
            creation_properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            creation_properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            creation_properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            dataset = file.create_dataset(name, layout.shape, layout.dtype, dcpl=creation_properties)
            dataset.attrs.update(layout.attributes)
            if layout.values is not None:
                dataset[...] = layout.values
        _name_dimensions(file, layouts)


def _name_dimensions(file: h5py.File, layouts: dict[str, DatasetLayout]) -> None:
    """Attach coordinates as HDF5 dimension scales, and hard-link datasets with named dimensions at the root.

    xarray and netCDF read the datasets of the root group.
    """
    scales = {}
    for name, layout in layouts.items():
        base_name = name.rpartition("/")[2]
        if layout.dimensions == (base_name,) or name == "sample":
            scales[base_name] = file[name]
            file[name].make_scale(base_name)
    for name, layout in layouts.items():
        base_name = name.rpartition("/")[2]
        dataset = file[name]
        if dataset.is_scale or not layout.dimensions or name.startswith("boundary_conditions/"):
            continue
        for axis, dimension in enumerate(layout.dimensions):
            dataset.dims[axis].attach_scale(scales[dimension])
    for name, layout in layouts.items():
        base_name = name.rpartition("/")[2]
        if (
            "/" in name
            and len(layout.dimensions) == len(layout.shape)
            and base_name not in ("mask", "values")
        ):
            file[base_name] = file[name]


def set_attribute(path: Path, attribute: str, value: AttributeValue) -> None:
    """Change an attribute of the file in place."""
    with h5py.File(path, "r+", locking=False) as file:
        file.attrs.modify(attribute, value)


def dataset_locations(path: Path) -> dict[str, DatasetLocation]:
    """Return the location of each dataset of a file.

    Raises:
        UserError: the file is not HDF5, or an object could lead outside of the file: a link, or a dataset
            that is virtual, external, chunked or larger than the file.
    """
    with _open_file(path) as file:
        return {name: _location(path, name, dataset) for name, dataset in _datasets(path, file)}


def memory_maps(path: Path, locations: dict[str, DatasetLocation]) -> dict[str, np.ndarray]:
    """Return the datasets of a file as read-only arrays over one memory map."""
    with open_regular(path) as file:
        file_bytes = np.memmap(file, np.uint8, "r")
    return {name: _view(file_bytes, location) for name, location in locations.items()}


def attributes(path: Path, group: str = "/") -> Attributes:
    """Return the attributes of the file or of one of its groups or datasets.

    Raises:
        UserError: the file is not HDF5 or holds no such group.
    """
    with _open_file(path) as file:
        try:
            return dict(file[group].attrs)
        except KeyError:
            raise UserError(f"{path}: the group or dataset {group} is missing. {_REMEDY}") from None


@contextmanager
def _open_file(path: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise UserError(f"{path} is not a readable HDF5 file: {error}. {_REMEDY}") from None
    with file:
        try:
            yield file
        except UserError:
            raise
        # The HDF5 library reports a damaged structure by exceptions of many types.
        except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} has a damaged structure: {type(error).__name__}: {error}. {_REMEDY}"
            ) from error


def _datasets(path: Path, file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the path and the object of every dataset; visit each group once; follow only hard links."""
    visited_addresses = set()
    groups = [("", file["/"])]
    while groups:
        prefix, group = groups.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in visited_addresses:
            continue
        visited_addresses.add(address)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise UserError(
                    f"{path}: {prefix}{name} is a link that can lead outside of the file. A shard may have "
                    f"hard links only. {_REMEDY}"
                )
            member = group[name]
            if isinstance(member, h5py.Group):
                groups.append((f"{prefix}{name}/", member))
            elif isinstance(member, h5py.Dataset):
                yield prefix + name, member
            else:
                raise UserError(f"{path}: {prefix}{name} is neither a group nor a dataset. {_REMEDY}")


def _location(path: Path, name: str, dataset: h5py.Dataset) -> DatasetLocation:
    creation_properties = dataset.id.get_create_plist()
    if (
        creation_properties.get_layout() != h5py.h5d.CONTIGUOUS
        or creation_properties.get_external_count() > 0
    ):
        raise UserError(
            f"{path}: {name} is virtual, external, compact or chunked. The datasets of a shard are "
            f"contiguous parts of its file. {_REMEDY}"
        )
    if dataset.dtype.hasobject or dataset.shape is None:
        raise UserError(
            f"{path}: {name} holds {dataset.dtype}. The datasets of a shard hold plain numbers. {_REMEDY}"
        )
    location = DatasetLocation(dataset.id.get_offset() or 0, dataset.shape, dataset.dtype)
    end, file_size = location.offset + location.num_bytes, path.stat().st_size
    if end > file_size:
        raise UserError(
            f"{path}: {name} ends at byte {end} by its declaration. The file has {file_size} bytes. {_REMEDY}"
        )
    return location


def _view(file_bytes: np.ndarray, location: DatasetLocation) -> np.ndarray:
    """Return the dataset as a view of the file's bytes."""
    values = file_bytes[location.offset : location.offset + location.num_bytes]
    return values.view(location.dtype).reshape(location.shape)
