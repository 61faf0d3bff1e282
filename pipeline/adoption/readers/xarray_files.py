"""NetCDF files and Zarr stores, through xarray."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from pipeline.adoption.contents import Contents, FoundAxis, FoundField, FoundParameter
from pipeline.adoption.description import Description
from pipeline.adoption.readers import hdf5_file, zarr_store
from pipeline.adoption.readers.reader import Reader, check_size, listed, number_type
from simsurrogate.errors import UserError

_NAMES = {
    "trajectory": ("trajectory", "sample", "simulation", "realization", "member", "ensemble", "run"),
    "time": ("time", "t"),
}
_COMPONENTS = ("component", "direction")
#: The unit in `seconds since 2000-01-01`.
_SINCE = re.compile(r"\s*(\w+)\s+since\b.*", re.IGNORECASE)


def open_dataset(path: Path) -> xarray.Dataset:
    """Return a NetCDF file or a Zarr store after its check, without reading values of fields.

    Raises:
        UserError: the file is damaged, or has something that is not read.
    """
    engine: Any = "scipy"
    if path.is_dir():
        zarr_store.check(path)
        engine = "zarr"
    elif hdf5_file.is_hdf5(path):
        hdf5_file.open_checked(path).close()
        engine = "h5netcdf"
    options: dict[str, Any] = {"consolidated": False} if engine == "zarr" else {}
    try:
        dataset: xarray.Dataset = xarray.open_dataset(
            path, engine=engine, decode_times=False, decode_timedelta=False, cache=False, **options
        )
    except UserError:
        raise
    # The libraries report damage by exceptions of many types.
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as NetCDF or Zarr: {type(error).__name__}: {str(error)[:200]}. Only "
            "whole files are read. Copy the file again"
        ) from None
    if engine == "scipy":
        for name, variable in dataset.variables.items():
            check_size(f"{path}: {name}", variable.shape, variable.dtype.itemsize, path.stat().st_size)
    return dataset


class XarrayReader(Reader):
    """The reader of one NetCDF file or Zarr store."""

    def __init__(self, path: Path, description: Description):
        self._path = path
        self._dataset = dataset = open_dataset(path)
        self._names = {kind: self._dimension(kind, description) for kind in ("trajectory", "time")}
        wanted = description.wanted_sources
        time, trajectory = self._names["time"], self._names["trajectory"]
        if time is None:
            raise UserError(
                f"{path} has no dimension of time. It has the dimensions {_listing(dataset)}. Add "
                "dimensions: {time: NAME} to the description"
            )
        states = {
            str(name): variable
            for name, variable in dataset.data_vars.items()
            if time in variable.dims and variable.ndim - (trajectory in variable.dims) > 1
            if not wanted or name in wanted
        }
        if not states:
            raise UserError(
                f"{path} has no variable over time and space. It has the dimensions {_listing(dataset)} and "
                f"the variables {', '.join(map(str, dataset.data_vars)) or 'none'}. Name the fields by "
                "source: NAME in the description"
            )
        first = next(iter(states.values()))
        skipped = {time, trajectory, *_COMPONENTS}
        axes = [str(name) for name in first.dims if name not in skipped]
        self._axes = axes
        constants = {
            str(name): variable
            for name, variable in dataset.data_vars.items()
            if str(name) not in states
            and set(axes) <= set(variable.dims) <= {*axes, trajectory, *_COMPONENTS}
            and (not wanted or name in wanted)
        }
        self._variables = states | constants
        self.contents = Contents(
            layout="Zarr" if path.is_dir() else "NetCDF",
            num_trajectories=dataset.sizes[trajectory] if trajectory else 1,
            fields=[self._found(name, variable) for name, variable in self._variables.items()],
            axes=[self._axis(name) for name in axes],
            times=self._points(time),
            num_frames=dataset.sizes[time],
            time_unit=self._time_unit(time),
            parameters=self._parameters(description),
        )

    def _dimension(self, kind: str, description: Description) -> str | None:
        chosen = dict(description.dimensions).get(kind)  # type: ignore[call-overload]
        names = [str(name) for name in self._dataset.sizes]
        if chosen is not None and chosen not in names:
            raise UserError(
                f"dimensions.{kind}={chosen} is no dimension of {self._path}. Its dimensions are "
                f"{_listing(self._dataset)}. Correct dimensions in the description"
            )
        return chosen or next((name for name in names if name.lower() in _NAMES[kind]), None)

    def _found(self, name: str, variable: xarray.DataArray) -> FoundField:
        dimensions = [str(dimension) for dimension in variable.dims]
        extra = set(dimensions) - {*self._axes, *self._names.values(), *_COMPONENTS}
        has_components = any(dimension in _COMPONENTS for dimension in dimensions)
        num_components = next((variable.sizes[item] for item in _COMPONENTS if item in dimensions), 0)
        if extra or (has_components and num_components != len(self._axes)):
            raise UserError(
                f"{self._path}: {name} has the dimensions {', '.join(dimensions)}. The fields have the axes "
                f"{', '.join(self._axes)} and, for a vector, component. List the fields that belong together "
                "under fields in the description"
            )
        return FoundField(
            name,
            num_components,
            self._names["time"] not in dimensions,
            number_type(f"{self._path}: {name}", variable.dtype),
            _text(variable.attrs.get("units")),
            _text(variable.attrs.get("long_name")),
        )

    def _axis(self, name: str) -> FoundAxis:
        size = self._dataset.sizes[name]
        unit = self._dataset[name].attrs.get("units") if name in self._dataset.coords else None
        return FoundAxis(name, size, _text(unit), self._points(name))

    def _points(self, name: str) -> list[float] | None:
        if name not in self._dataset.coords or self._dataset[name].ndim != 1:
            return None
        number_type(f"{self._path}: {name}", self._dataset[name].dtype)
        return listed(f"{self._path}: {name}", self._dataset[name].values)

    def _time_unit(self, name: str) -> str | None:
        unit = _text(self._dataset[name].attrs.get("units")) if name in self._dataset.coords else None
        match = _SINCE.fullmatch(unit or "")
        return match[1] if match else unit

    def _parameters(self, description: Description) -> list[FoundParameter]:
        trajectory, wanted = self._names["trajectory"], description.parameters
        count = self._dataset.sizes[trajectory] if trajectory else 1
        expected = (trajectory,) if trajectory else ()
        parameters = []
        for name, variable in self._dataset.variables.items():
            if name in self._dataset.sizes or (wanted and name not in wanted):
                continue
            if variable.dims == expected and variable.dtype.kind in "fiu":
                values = np.broadcast_to(variable.values, count).astype(np.float64)
                attributes = variable.attrs
                parameters.append(
                    FoundParameter(
                        str(name),
                        listed(f"{self._path}: {name}", values),
                        _text(attributes.get("units")),
                        _text(attributes.get("long_name")),
                    )
                )
        found = {parameter.name for parameter in parameters}
        for name in set(description.wanted_parameters) - found:
            value = self._dataset.attrs.get(name)
            if isinstance(value, int | float | np.number):
                parameters.append(FoundParameter(name, [float(value)] * count))
        return sorted(parameters, key=lambda parameter: parameter.name)

    def values(self, trajectory: int) -> dict[str, np.ndarray]:
        """Return the fields ([T,] *sites[, D]) of a trajectory by name."""
        values = {}
        for name, variable in self._variables.items():
            item = variable
            if self._names["trajectory"] in item.dims:
                item = item.isel({self._names["trajectory"]: trajectory})
            order = [dim for dim in (self._names["time"], *self._axes, *_COMPONENTS) if dim in item.dims]
            values[name] = item.transpose(*order).values
        return values


def _text(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) and value.strip() else None


def _listing(dataset: xarray.Dataset) -> str:
    return ", ".join(f"{name} {size}" for name, size in dataset.sizes.items()) or "none"
