"""The layout of a shard: every dataset of The Well's HDF5 format, with its path, shape and attributes.

The Well: Ohana et al. 2024, arXiv 2412.00568; github.com/PolymathicAI/the_well, docs/data_format.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import h5py
import numpy as np

from pipeline.data.format.links import LinkedFile
from simsurrogate.spec import Axis, Field, Quantity, Spec

#: The schema version of data on grids.
GRID_VERSION = 2
#: The schema version of particle data; position and velocity are vector fields since version 3.
PARTICLES_VERSION = 3

#: The two kinds of fields: fields of the state, and fields that are constant in time.
FieldKind = Literal["fields", "coefficient_fields"]
FIELD_KINDS: tuple[FieldKind, FieldKind] = ("fields", "coefficient_fields")

#: The value of an HDF5 attribute.
AttributeValue = str | int | float | bool | np.ndarray

#: HDF5 attributes of a file, a group or a dataset by name.
Attributes = dict[str, AttributeValue]

#: The column of a data set whose spec is `chaotic`.
PREDICTABLE_TIME = Quantity(
    "predictable_time", "s", "time until which the error of the steps in time stays below 1 %"
)

_TEXT_TYPE = h5py.string_dtype()


@dataclass(frozen=True)
class Header:
    """The common description of all shards of a data set.

    Attributes:
        spec: the solver's spec.
        times: the times of the frames (T,), s.
        precision: the type of fields and coordinates, `float32` or `float64`.
        parameter_shapes: the shapes of the parameters that are arrays.
        attributes: further attributes of the file, such as seed, solver and code version.
        links: the files with the fields of a shard, by the name of the shard's file; only adopted data have
            such files.
    """

    spec: Spec
    times: np.ndarray
    precision: str
    parameter_shapes: dict[str, tuple[int, ...]]
    attributes: Attributes
    links: Mapping[str, Sequence[LinkedFile]] = dataclasses.field(default_factory=dict)

    def fields(self, kind: FieldKind) -> tuple[Field, ...]:
        """Return the fields of the state, or the coefficient fields."""
        return self.spec.fields if kind == "fields" else self.spec.coefficient_fields

    def channels(self, kind: FieldKind) -> tuple[str, ...]:
        """Return the channels of the state, or the channels of the coefficient fields."""
        return self.spec.channels_of(self.fields(kind))


@dataclass(frozen=True)
class DatasetLayout:
    """The layout of one dataset of a shard: its shape, type and attributes.

    `dimensions` names the leading axes. `values` holds the content of coordinates and
    boundary conditions; it is None for data of trajectories. The values of a dataset with `link` are in
    another file.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dimensions: tuple[str, ...]
    attributes: Attributes
    values: np.ndarray | None = None
    link: LinkedFile | None = None

    @property
    def num_bytes(self) -> int:
        """The bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """The bytes of one row, the data of one trajectory."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    @property
    def is_varying(self) -> bool:
        """Whether each trajectory has its own values."""
        return self.values is None


def schema_version(spec: Spec) -> int:
    """Return the version of the format for data of this spec."""
    return PARTICLES_VERSION if spec.has_particles else GRID_VERSION


def bytes_of_fields(spec: Spec, num_frames: int, precision: str) -> int:
    """Return the bytes of the fields and coefficient fields of one trajectory."""
    num_channels = num_frames * len(spec.channels) + len(spec.coefficient_channels)
    return np.dtype(precision).itemsize * math.prod(spec.shape) * num_channels


def field_path(field: Field) -> str:
    """Return the path of a field: `t0_fields/NAME` for scalars, `t1_fields/NAME` for vectors."""
    return f"t{field.tensor_order}_fields/{field.name}"


def dataset_layouts(header: Header, rows: int, file_name: str = "") -> dict[str, DatasetLayout]:
    """Return the layout of every dataset of a shard of `rows` trajectories, by its path.

    `file_name` is the name of the shard's file, which determines the file with its fields in linked data.
    """
    spec, steps = header.spec, len(header.times)
    float64 = np.dtype(np.float64)
    layouts = {
        "sample": DatasetLayout((rows,), np.dtype(np.int64), ("sample",), {"long_name": "trajectory index"})
    }
    layouts |= _coordinates(header)
    for kind, leading_dimensions in zip(FIELD_KINDS, (("sample", "time"), ("sample",)), strict=True):
        for field in header.fields(kind):
            layout = _field_layout(header, field, leading_dimensions, rows)
            path = field_path(field)
            link = next((link for link in header.links.get(file_name, ()) if path in link.offsets), None)
            layouts[path] = dataclasses.replace(layout, link=link)
    for parameter in spec.parameters:
        layouts[f"scalars/{parameter.name}"] = DatasetLayout(
            (rows,), float64, ("sample",), _unit_and_name(parameter) | _variation("sample")
        )
    for quantity in (*spec.invariants, *spec.quantities):
        layouts[f"scalars/{quantity.name}"] = DatasetLayout(
            (rows, steps),
            float64,
            ("sample", "time"),
            _unit_and_name(quantity) | _variation("sample", "time"),
        )
    for column in _columns(spec):
        layouts[f"scalars/{column.name}"] = DatasetLayout(
            (rows,), float64, ("sample",), _unit_and_name(column) | _variation("sample")
        )
    for name, shape in header.parameter_shapes.items():
        layouts[f"parameters/{name}"] = DatasetLayout(
            (rows, *shape), float64, ("sample",), _variation("sample")
        )
    return layouts | _boundaries(header)


def group_attributes(header: Header, rows: int) -> dict[str, Attributes]:
    """Return the attributes of the file and of its groups, by path.

    The attribute `complete` is false until the whole shard is written.
    """
    spec = header.spec
    fields = [*spec.fields, *spec.coefficient_fields]
    scalars = [
        *spec.parameter_names,
        *(quantity.name for quantity in (*spec.invariants, *spec.quantities, *_columns(spec))),
    ]
    groups: dict[str, Attributes] = {
        "/": header.attributes
        | {
            "dataset_name": spec.name,
            "equation": spec.equation,
            "grid_type": "cartesian",
            "n_spatial_dims": len(spec.axes),
            "n_trajectories": rows,
            "simulation_parameters": _text_array(spec.parameter_names),
            "schema_version": schema_version(spec),
            "complete": False,
        }
        | _coarsening_attributes(spec),
        "dimensions": {"spatial_dims": _text_array(spec.axis_names)},
        "scalars": {"field_names": _text_array(scalars)},
    }
    for tensor_order in range(3):
        names = [field.name for field in fields if field.tensor_order == tensor_order]
        groups[f"t{tensor_order}_fields"] = {"field_names": _text_array(names)}
    for axis in spec.axes:
        boundary_attributes: Attributes = {
            "associated_dims": _text_array([axis.name]),
            "associated_fields": _text_array([field.name for field in spec.fields if axis.has_walls]),
            "bc_type": "wall" if axis.has_walls else axis.boundary,
            "condition": axis.boundary,
        }
        groups[f"boundary_conditions/{axis.name}_boundary"] = boundary_attributes | _variation()
    return groups


def _coarsening_attributes(spec: Spec) -> Attributes:
    """Return the attributes of fields on a coarser grid than the solver's."""
    if spec.coarsening is None:
        return {}
    return {
        "coarsen": np.array(spec.coarsening.cells, np.int64),
        "coarsen_method": spec.coarsening.method,
    }


def _columns(spec: Spec) -> tuple[Quantity, ...]:
    """Return the numbers of a trajectory that the pipeline adds to those of the solver."""
    return (PREDICTABLE_TIME,) if spec.chaotic else ()


def _coordinates(header: Header) -> dict[str, DatasetLayout]:
    """Return the layouts of time, the axes, and the names of vector components."""
    precision, spec = np.dtype(header.precision), header.spec
    time_attributes = {"units": "s", "long_name": "time"} | _variation()
    times = header.times.astype(precision)
    layouts = {
        "dimensions/time": DatasetLayout(header.times.shape, precision, ("time",), time_attributes, times)
    }
    for axis in spec.axes:
        description = "number of the particle" if spec.has_particles else f"cell centres along {axis.name}"
        axis_attributes = {"units": axis.unit, "long_name": description} | _variation()
        layouts[f"dimensions/{axis.name}"] = DatasetLayout(
            (axis.size,), precision, (axis.name,), axis_attributes, axis.centres.astype(precision)
        )
    if any(field.tensor_order for field in (*spec.fields, *spec.coefficient_fields)):
        names = np.array([name.encode() for name in spec.sites.directions])
        component_attributes: Attributes = {"long_name": "component of a vector"}
        layouts["component"] = DatasetLayout(
            names.shape, names.dtype, ("component",), component_attributes, names
        )
    return layouts


def _field_layout(
    header: Header, field: Field, leading_dimensions: tuple[str, ...], rows: int
) -> DatasetLayout:
    """Return the layout of a field; `leading_dimensions` are the dimensions before the sites."""
    spec = header.spec
    components = spec.components(field) if field.tensor_order else ()
    shape = (rows, *([len(header.times)] if "time" in leading_dimensions else []), *spec.shape)
    return DatasetLayout(
        shape + ((len(components),) if components else ()),
        np.dtype(header.precision),
        (*leading_dimensions, *spec.axis_names, *(["component"] if components else [])),
        _unit_and_name(field)
        | _variation(*leading_dimensions)
        | {"dim_varying": np.ones(len(spec.axes), bool)},
    )


def _boundaries(header: Header) -> dict[str, DatasetLayout]:
    """Return the layouts of boundary conditions: for each axis, a mask of its end cells and two values.

    The values have a meaning only at walls.
    """
    layouts = {}
    for axis in header.spec.axes:
        group = f"boundary_conditions/{axis.name}_boundary"
        mask = _end_cell_mask(axis)
        values = np.array(axis.boundary_values, np.dtype(header.precision))
        layouts[f"{group}/mask"] = DatasetLayout(mask.shape, mask.dtype, (axis.name,), {}, mask)
        layouts[f"{group}/values"] = DatasetLayout(values.shape, values.dtype, (), {}, values)
    return layouts


def _end_cell_mask(axis: Axis) -> np.ndarray:
    mask = np.zeros(axis.size, bool)
    mask[[0, -1]] = True
    return mask


def _unit_and_name(quantity: Quantity) -> Attributes:
    return {"units": quantity.unit, "long_name": quantity.description}


def _variation(*dimensions: str) -> Attributes:
    """Return attributes of The Well that state whether values vary by trajectory and in time."""
    return {"sample_varying": "sample" in dimensions, "time_varying": "time" in dimensions}


def _text_array(names: list[str] | tuple[str, ...]) -> np.ndarray:
    return np.array(names, dtype=_TEXT_TYPE)
