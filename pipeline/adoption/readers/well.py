"""The Well's HDF5 format: docs/data_format.md of github.com/PolymathicAI/the_well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.adoption.contents import Contents, FoundAxis, FoundField, FoundParameter, Location, MappableRows
from pipeline.adoption.description import Description
from pipeline.adoption.readers import hdf5_file
from pipeline.adoption.readers.reader import Reader, equal_times, listed, number_type
from simsurrogate.errors import UserError

LAYOUT = "The Well's HDF5"
#: The boundary conditions by `bc_type`. A wall has a condition that the format does not name.
_BOUNDARIES = {"periodic": "periodic", "open": "open"}
_CONDITIONS = ("periodic", "dirichlet", "neumann", "open")


def is_layout(file: h5py.File) -> bool:
    """Return whether a file has the groups of the format."""
    return {"dimensions", "t0_fields"} <= set(file)


class WellReader(Reader):
    """The reader of one file."""

    def __init__(self, path: Path, file: h5py.File, description: Description):
        self._path, self._file = path, file
        grid_type = hdf5_file.text(file, "grid_type")
        if grid_type not in (None, "cartesian"):
            raise UserError(
                f"{path} has the grid type {grid_type}. Only cartesian grids are adopted. Resample the "
                "fields on a cartesian grid"
            )
        names = hdf5_file.texts(file["dimensions"], "spatial_dims")
        if not names or not {*names, "time"} <= set(file["dimensions"]):
            raise UserError(
                f"{path}: the group dimensions lacks time, spatial_dims or one of its axes. It holds "
                f"{', '.join(file['dimensions'])}. Add the attribute spatial_dims and the coordinates"
            )
        self._datasets: dict[str, tuple[h5py.Dataset, int]] = {}
        self._names = names
        self._sizes = tuple(self._coordinates(name).shape[-1] for name in names)
        times = self._coordinates("time")
        fields = [field for order in range(3) for field in self._fields(order, description.wanted_sources)]
        wanted = description.parameters
        notes: list[str] = []
        parameters = [
            parameter for parameter in self._scalars(notes) if not wanted or parameter.name in wanted
        ]
        self.contents = Contents(
            layout=LAYOUT,
            num_trajectories=self._num_trajectories(),
            fields=fields,
            axes=[self._axis(name) for name in names],
            times=equal_times(f"{path}: dimensions/time", np.atleast_2d(times[...])),
            num_frames=times.shape[-1],
            time_unit=hdf5_file.text(times, "units"),
            parameters=parameters,
            arrays=self._arrays(),
            name=hdf5_file.text(file, "dataset_name"),
            rows=[MappableRows(self._num_trajectories(), self._locations(fields))],
            notes=notes,
        )
        self._check_shapes()

    def _coordinates(self, name: str) -> h5py.Dataset:
        return hdf5_file.numbers(f"{self._path}: dimensions/{name}", self._file["dimensions"][name])

    def _num_trajectories(self) -> int:
        """Return the number of trajectories by the fields that vary between trajectories."""
        for dataset, _ in self._datasets.values():
            if _flag(dataset, "sample_varying"):
                return int(dataset.shape[0])
        raise UserError(
            f"{self._path} has no field that varies between trajectories. It holds the fields "
            f"{', '.join(self._datasets) or 'none'}. Set the attribute sample_varying of a field"
        )

    def _fields(self, order: int, wanted: Sequence[str]) -> list[FoundField]:
        group = self._file.get(f"t{order}_fields")
        if not isinstance(group, h5py.Group):
            return []
        found = []
        for name in hdf5_file.texts(group, "field_names") or list(group):
            path = f"{self._path}: t{order}_fields/{name}"
            dataset = hdf5_file.numbers(path, group.get(name))
            if order == 2:
                found += self._tensor(name, dataset, wanted)
                continue
            if wanted and name not in wanted:
                continue
            self._datasets[name] = dataset, -1
            found.append(self._found(path, name, dataset, len(self._names) if order else 0))
        return found

    def _tensor(self, name: str, dataset: h5py.Dataset, wanted: Sequence[str]) -> list[FoundField]:
        """Return the components of a tensor field as scalar fields."""
        found = []
        for row, first in enumerate(self._names):
            for column, second in enumerate(self._names):
                component = f"{name}_{first}{second}"
                if not wanted or component in wanted:
                    self._datasets[component] = dataset, row * len(self._names) + column
                    found.append(self._found(f"{self._path}: {name}", component, dataset, 0))
        return found

    def _found(self, path: str, name: str, dataset: h5py.Dataset, components: int) -> FoundField:
        return FoundField(
            name,
            components,
            is_constant=not _flag(dataset, "time_varying"),
            dtype=number_type(path, dataset.dtype),
            unit=hdf5_file.text(dataset, "units"),
            description=hdf5_file.text(dataset, "long_name"),
        )

    def _locations(self, fields: Sequence[FoundField]) -> dict[str, Location]:
        """Return the fields that can be mapped into memory as the fields of a shard."""
        locations = {}
        for field in fields:
            dataset, component = self._datasets[field.name]
            is_whole = _flag(dataset, "sample_varying") and all(self._dim_varying(dataset)) and component < 0
            if is_whole and (location := hdf5_file.location(self._path, dataset, field.dtype)):
                locations[field.name] = location
        return locations

    def _check_shapes(self) -> None:
        for name, (dataset, component) in self._datasets.items():
            shape = self._stored_shape(dataset, name)
            order = dataset.parent.name.lstrip("/")[1:2] if component < 0 else "2"
            expected = (*shape, *(len(self._names),) * int(order))
            if dataset.shape != expected:
                raise UserError(
                    f"{self._path}: {name} has the shape {dataset.shape}, {expected} expected by its "
                    "attributes and the dimensions. The attributes sample_varying, time_varying and "
                    "dim_varying name the axes. Correct the attributes"
                )

    def _stored_shape(self, dataset: h5py.Dataset, name: str) -> tuple[int, ...]:
        varying = self._dim_varying(dataset)
        return (
            *((self.contents.num_trajectories,) if _flag(dataset, "sample_varying") else ()),
            *((self.contents.num_frames,) if _flag(dataset, "time_varying") else ()),
            *(size for size, varies in zip(self._sizes, varying, strict=True) if varies),
        )

    def _dim_varying(self, dataset: h5py.Dataset) -> list[bool]:
        varying = hdf5_file.attribute(dataset, "dim_varying")
        if not isinstance(varying, list) or len(varying) != len(self._names):
            return [True] * len(self._names)
        return [bool(varies) for varies in varying]

    def _axis(self, name: str) -> FoundAxis:
        dataset = self._coordinates(name)
        points = np.atleast_2d(dataset[...])
        if points.ndim != 2 or not np.array_equal(points, np.broadcast_to(points[:1], points.shape)):
            raise UserError(
                f"{self._path}: dimensions/{name} varies. The coordinates of a cartesian axis are one "
                "vector. Resample the fields on one grid"
            )
        boundary, values = self._boundary(name)
        return FoundAxis(
            name,
            points.shape[1],
            hdf5_file.text(dataset, "units"),
            listed(f"{self._path}: dimensions/{name}", points[0]),
            boundary,
            values,
        )

    def _boundary(self, axis: str) -> tuple[str | None, tuple[float, float]]:
        group = self._file.get("boundary_conditions")
        for name in group if isinstance(group, h5py.Group) else ():
            if axis not in hdf5_file.texts(group[name], "associated_dims"):
                continue
            condition = hdf5_file.text(group[name], "condition")
            kind = str(hdf5_file.text(group[name], "bc_type")).lower()
            boundary = condition if condition in _CONDITIONS else _BOUNDARIES.get(kind)
            values = group[name].get("values")
            if boundary in ("dirichlet", "neumann") and getattr(values, "shape", None) == (2,):
                lower, upper = listed(f"{self._path}: {name}/values", values[...])
                return boundary, (lower, upper)
            return boundary, (0.0, 0.0)
        return None, (0.0, 0.0)

    def _scalars(self, notes: list[str]) -> list[FoundParameter]:
        group = self._file.get("scalars")
        parameters = []
        for name in hdf5_file.texts(group, "field_names") if isinstance(group, h5py.Group) else ():
            dataset = hdf5_file.numbers(f"{self._path}: scalars/{name}", group.get(name))
            num_trajectories = self._num_trajectories()
            if _flag(dataset, "time_varying") or dataset.shape not in ((), (1,), (num_trajectories,)):
                notes.append(f"The scalar {name} varies in time and is left out.")
                continue
            values = np.broadcast_to(dataset[...], num_trajectories)
            parameters.append(
                FoundParameter(
                    name,
                    listed(f"{self._path}: scalars/{name}", values),
                    hdf5_file.text(dataset, "units"),
                    hdf5_file.text(dataset, "long_name"),
                )
            )
        return parameters

    def _arrays(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the arrays of each trajectory, which this pipeline adds to the format."""
        group = self._file.get("parameters")
        if not isinstance(group, h5py.Group):
            return {}
        shapes = {name: hdf5_file.numbers(f"parameters/{name}", group[name]).shape for name in group}
        return {
            name: tuple(shape[1:])
            for name, shape in shapes.items()
            if shape and shape[0] == self._num_trajectories()
        }

    def values(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return the fields ([T,] *sites[, D]) and the arrays of a trajectory by name."""
        values = {name: self._field(name, trajectory) for name in self._datasets}
        return values | {
            f"parameters/{name}": self._file[f"parameters/{name}"][trajectory]
            for name in self.contents.arrays
        }

    def _field(self, name: str, trajectory: int) -> np.ndarray:
        dataset, component = self._datasets[name]
        array: np.ndarray = dataset[trajectory] if _flag(dataset, "sample_varying") else dataset[...]
        num_leading = int(_flag(dataset, "time_varying"))
        for axis, varies in enumerate(self._dim_varying(dataset)):
            if not varies:
                array = np.expand_dims(array, num_leading + axis)
        if component >= 0:
            array = array.reshape(*array.shape[:-2], -1)[..., component]
        sites = slice(num_leading, num_leading + len(self._sizes))
        shape = list(array.shape)
        shape[sites] = self._sizes
        return np.broadcast_to(array, shape)


def _flag(item: Any, name: str) -> bool:
    """Return an attribute of The Well; fields vary unless the attribute denies it."""
    value = hdf5_file.attribute(item, name)
    return True if value is None else bool(value)
