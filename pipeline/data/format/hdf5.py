"""HDF5 files of contiguous datasets: their creation without values, and memory maps of their datasets.

Values are read and written at their offsets in the file, without the HDF5 library. The library opens only
files that this process wrote. `structure` verifies all other files.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.data.format.layout import Attributes, AttributeValue, DatasetLayout
from pipeline.data.format.links import LinkedFile
from simsurrogate.files import open_regular

_ALIGNMENT = 64


@dataclass(frozen=True)
class DatasetLocation:
    """The offset, shape and type of a dataset's values in its file, or in the file `link`."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    link: LinkedFile | None = None

    @property
    def num_bytes(self) -> int:
        """The bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def end(self) -> int:
        """The offset after the last byte."""
        return self.offset + self.num_bytes

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
            creation_properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            if layout.link:
                linked_path = os.fsencode(layout.link.path)
                creation_properties.set_external(linked_path, layout.link.offsets[name], layout.num_bytes)
            else:
                creation_properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
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


def location_of(name: str, layout: DatasetLayout, own_offset: int) -> DatasetLocation:
    """Return the location of a dataset's values: in its linked file, or at `own_offset` of its own file."""
    offset = layout.link.offsets[name] if layout.link else own_offset
    return DatasetLocation(offset, layout.shape, layout.dtype, layout.link)


def dataset_locations(path: Path, layouts: Mapping[str, DatasetLayout]) -> dict[str, DatasetLocation]:
    """Return the locations of the datasets of a file that this process wrote with these layouts."""
    with h5py.File(path, "r", locking=False) as file:
        return {
            name: location_of(name, layout, file[name].id.get_offset() or 0)
            for name, layout in layouts.items()
        }


def memory_maps(path: Path, locations: dict[str, DatasetLocation]) -> dict[str, np.ndarray]:
    """Return the datasets of a file, and of the files that it links to, as read-only arrays over memory maps.

    Raises:
        UserError: a linked file is not the file that was adopted.
    """
    with open_regular(path) as file:
        file_bytes = np.memmap(file, np.uint8, "r")
    links = {location.link.path: location.link for location in locations.values() if location.link}
    ends: dict[str, int] = {}
    for location in locations.values():
        if location.link:
            ends[location.link.path] = max(location.end, ends.get(location.link.path, 0))
    linked_bytes = {path: link.bytes(ends[path]) for path, link in links.items()}
    return {
        name: _view(linked_bytes[location.link.path] if location.link else file_bytes, location)
        for name, location in locations.items()
    }


def _view(file_bytes: np.ndarray, location: DatasetLocation) -> np.ndarray:
    """Return the dataset as a view of the file's bytes."""
    values = file_bytes[location.offset : location.end]
    return values.view(location.dtype).reshape(location.shape)
