"""PDEBench's HDF5 files: arrays at the root, or a group for each trajectory.

Takamoto et al. 2022, arXiv 2210.07182; github.com/pdebench/PDEBench.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from pipeline.adoption.contents import Contents, FoundAxis, FoundField, FoundParameter, MappableRows
from pipeline.adoption.description import Description
from pipeline.adoption.readers import hdf5_file
from pipeline.adoption.readers.reader import Reader, equal_times, listed, number_type
from simsurrogate.errors import UserError
from simsurrogate.sites import DIRECTIONS

#: The names of the coordinates of an axis and of the times.
_COORDINATES = {name: (f"{name}-coordinate", name) for name in (*DIRECTIONS, "t")}
#: The arrays at the root whose last axis holds components.
_WITH_COMPONENTS = ("velocity", "particles", "force")


def is_grouped(file: h5py.File) -> bool:
    """Return whether each object at the root is a group with the dataset `data`."""
    return bool(len(file)) and all(
        isinstance(item, h5py.Group) and isinstance(item.get("data"), h5py.Dataset) for item in file.values()
    )


def is_layout(file: h5py.File) -> bool:
    """Return whether a file has one of PDEBench's layouts."""
    return is_grouped(file) or (
        any(f"{name}-coordinate" in file for name in (*DIRECTIONS, "t"))
        or "tensor" in file
        or {"velocity", "t"} <= set(file)
    )


class RootArrays(Reader):
    """The reader of a file with arrays (N, T, *sites) or (N, T, *sites, components) at the root."""

    def __init__(self, path: Path, file: h5py.File, description: Description):
        self._path, self._file = path, file
        coordinates = {name for names in _COORDINATES.values() for name in names}
        arrays = {
            name: hdf5_file.numbers(f"{path}: {name}", item)
            for name, item in file.items()
            if name not in coordinates and isinstance(item, h5py.Dataset) and item.ndim >= 2
        }
        if not arrays:
            raise UserError(
                f"{path} has no array of trajectories. It holds {', '.join(file) or 'nothing'}. An array at "
                "the root has the axes trajectory, time and space. Use another file"
            )
        num_sites = {name: item.ndim - (2 + (name in _WITH_COMPONENTS)) for name, item in arrays.items()}
        num_axes = max(1, *(num_sites[name] + (name == "force") for name in arrays))
        self._datasets: dict[str, tuple[h5py.Dataset, int | None]] = {}
        fields: list[FoundField] = []
        shapes: dict[str, tuple[int, ...]] = {}
        for name, dataset in arrays.items():
            is_constant = dataset.ndim - (name in _WITH_COMPONENTS) == num_axes + 1
            first_site = 1 if is_constant else 2
            shape = dataset.shape[first_site : first_site + num_axes]
            for found_name, component in self._components(name, dataset, num_axes):
                if description.wanted_sources and found_name not in description.wanted_sources:
                    continue
                self._datasets[found_name] = dataset, component
                fields.append(
                    FoundField(
                        found_name,
                        num_axes if component is None and name in _WITH_COMPONENTS else 0,
                        is_constant,
                        number_type(f"{path}: {name}", dataset.dtype),
                    )
                )
                shapes[found_name] = (dataset.shape[0], *shape)
        states = [self._datasets[field.name][0] for field in fields if not field.is_constant]
        if len(set(shapes.values())) != 1 or len({dataset.shape[1] for dataset in states}) != 1:
            listing = ", ".join(f"{name} {self._datasets[name][0].shape}" for name in self._datasets)
            raise UserError(
                f"{path}: no two arrays may disagree in trajectories, frames and sites. It holds "
                f"{listing or ', '.join(arrays)}. Name the arrays that belong together under fields"
            )
        (num_trajectories, *sites), num_frames = next(iter(shapes.values())), states[0].shape[1]
        self.contents = Contents(
            layout="PDEBench's HDF5 with arrays at the root",
            num_trajectories=num_trajectories,
            fields=fields,
            axes=[
                FoundAxis(name, size, points=self._points(file, name, size))
                for name, size in zip(DIRECTIONS, sites, strict=False)
            ],
            times=self._times(num_frames, num_trajectories),
            num_frames=num_frames,
            parameters=_attributes(file, description, num_trajectories),
            rows=[
                MappableRows(
                    num_trajectories,
                    {
                        field.name: location
                        for field in fields
                        for dataset, component in [self._datasets[field.name]]
                        if component is None or dataset.shape[-1] == 1
                        if (location := hdf5_file.location(path, dataset, field.dtype))
                    },
                )
            ],
        )

    @staticmethod
    def _components(name: str, dataset: h5py.Dataset, num_axes: int) -> list[tuple[str, int | None]]:
        """Return the fields in an array, with the index of their component."""
        if name not in _WITH_COMPONENTS or dataset.shape[-1] == num_axes > 1:
            return [(name, None)]
        count = min(dataset.shape[-1], 2**10)
        return [(name if count == 1 else f"{name}_{index}", index) for index in range(count)]

    def _points(self, file: h5py.File, name: str, size: int) -> list[float] | None:
        for key in _COORDINATES[name]:
            if key in file:
                dataset = hdf5_file.numbers(f"{self._path}: {key}", file[key])
                if dataset.shape == (size,):
                    return listed(f"{self._path}: {key}", dataset[...])
        return None

    def _times(self, num_frames: int, num_trajectories: int) -> list[float] | None:
        for key in _COORDINATES["t"]:
            if key not in self._file:
                continue
            name = f"{self._path}: {key}"
            dataset = hdf5_file.numbers(name, self._file[key])
            if dataset.shape == (num_trajectories, num_frames):
                return equal_times(name, dataset[...])
            # The files of PDEBench have one time more than frames.
            if dataset.shape in ((num_frames,), (num_frames + 1,)):
                return listed(name, dataset[:num_frames])
        return None

    def values(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return the fields ([T,] *sites[, D]) of a trajectory by name."""
        return {
            name: dataset[trajectory] if component is None else dataset[trajectory][..., component]
            for name, (dataset, component) in self._datasets.items()
        }


class GroupPerTrajectory(Reader):
    """The reader of a file with a group for each trajectory: `data` (T, *sites, C) and `grid`."""

    def __init__(self, path: Path, file: h5py.File, description: Description):
        self._file, self._groups = file, sorted(file)
        first = file[self._groups[0]]
        data = hdf5_file.numbers(f"{path}: {self._groups[0]}/data", first["data"])
        if data.ndim < 3:
            raise UserError(
                f"{path}: {self._groups[0]}/data has the shape {data.shape}. The axes time, space and "
                "channel are allowed. Use another file"
            )
        sites, count = data.shape[1:-1], min(data.shape[-1], 2**10)
        names = ["data"] if count == 1 else [f"data_{index}" for index in range(count)]
        self._components = {
            name: index
            for index, name in enumerate(names)
            if not description.wanted_sources or name in description.wanted_sources
        }
        for group in self._groups:
            item = hdf5_file.numbers(f"{path}: {group}/data", file[group]["data"])
            if (item.shape, item.dtype) != (data.shape, data.dtype):
                raise UserError(
                    f"{path}: {self._groups[0]}/data is {data.dtype}{data.shape}, and {group}/data is "
                    f"{item.dtype}{item.shape}. All trajectories have the same shape. Adopt each group of "
                    "trajectories by itself"
                )
        dtype = number_type(f"{path}: data", data.dtype)
        grid = first.get("grid")
        self.contents = Contents(
            layout="PDEBench's HDF5 with a group for each trajectory",
            num_trajectories=len(self._groups),
            fields=[FoundField(name, 0, False, dtype) for name in self._components],
            axes=[
                FoundAxis(name, size, points=self._coordinates(path, grid, name, size))
                for name, size in zip(DIRECTIONS, sites, strict=False)
            ],
            times=self._coordinates(path, grid, "t", data.shape[0]),
            num_frames=data.shape[0],
            parameters=[
                parameter
                for name in description.wanted_parameters
                if (parameter := self._parameter(file, name)) is not None
            ],
        )

    def _parameter(self, file: h5py.File, name: str) -> FoundParameter | None:
        values = [hdf5_file.attribute(file[group], name) for group in self._groups]
        return FoundParameter(name, [float(value) for value in values]) if _are_numbers(values) else None

    def _coordinates(self, path: Path, grid: object, name: str, size: int) -> list[float] | None:
        if not isinstance(grid, h5py.Group) or name not in grid:
            return None
        dataset = hdf5_file.numbers(f"{path}: grid/{name}", grid[name])
        return listed(f"{path}: grid/{name}", dataset[...]) if dataset.shape == (size,) else None

    def values(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return the fields (T, *sites) of a trajectory by name."""
        data = self._file[self._groups[trajectory]]["data"][...]
        return {name: data[..., component] for name, component in self._components.items()}


def _attributes(file: h5py.File, description: Description, count: int) -> list[FoundParameter]:
    """Return the listed parameters that are vectors (N,) or attributes of the file."""
    parameters = []
    for name in description.wanted_parameters:
        value = hdf5_file.attribute(file, name)
        if name in file and getattr(file[name], "shape", None) == (count,):
            parameters.append(FoundParameter(name, listed(name, hdf5_file.numbers(name, file[name])[...])))
        elif _are_numbers([value]):
            parameters.append(FoundParameter(name, [float(value)] * count))
    return parameters


def _are_numbers(values: list[object]) -> bool:
    return all(isinstance(value, int | float) for value in values)
