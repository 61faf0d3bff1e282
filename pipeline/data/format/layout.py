"""The layout of a shard: every dataset of The Well's HDF5 format, with its path, shape and attributes.

The Well: Ohana et al. 2024, arXiv 2412.00568; github.com/PolymathicAI/the_well, docs/data_format.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import h5py
import numpy as np

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

_TEXT = h5py.string_dtype()


@dataclass(frozen=True)
class Header:
    """The common description of all shards of a data set.

    Attributes:
        spec: the solver's spec.
        times: the times of the frames (T,), s.
        precision: the type of fields and coordinates, `float32` or `float64`.
        parameter_shapes: the shapes of the parameters that are arrays.
        attributes: further attributes of the file, such as seed, solver and code version.
    """

    spec: Spec
    times: np.ndarray
    precision: str
    parameter_shapes: dict[str, tuple[int, ...]]
    attributes: Attributes

    def fields(self, kind: FieldKind) -> tuple[Field, ...]:
        """Return the fields of the state, or the coefficient fields."""
        return self.spec.fields if kind == "fields" else self.spec.coefficient_fields

    def channels(self, kind: FieldKind) -> tuple[str, ...]:
        """Return the channels of the state, or the channels of the coefficient fields."""
        return self.spec.channels_of(self.fields(kind))


@dataclass(frozen=True)
class Item:
    """The shape, type and attributes of one dataset of a shard.

    `dimensions` names the leading axes. `values` holds the content of coordinates and
    boundary conditions; it is None for data of trajectories.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dimensions: tuple[str, ...]
    attributes: Attributes
    values: np.ndarray | None = None

    @property
    def row_bytes(self) -> int:
        """The bytes of one row, the data of one trajectory."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    @property
    def varies(self) -> bool:
        """Whether each trajectory has its own values."""
        return self.values is None


def schema_version(spec: Spec) -> int:
    """Return the version of the format for data of this spec."""
    return PARTICLES_VERSION if spec.has_particles else GRID_VERSION


def field_path(field: Field) -> str:
    """Return the path of a field: `t0_fields/NAME` for scalars, `t1_fields/NAME` for vectors."""
    return f"t{field.tensor_order}_fields/{field.name}"


def items(header: Header, rows: int) -> dict[str, Item]:
    """Return every dataset of a shard of `rows` trajectories, by its path."""
    spec, steps = header.spec, len(header.times)
    double = np.dtype(np.float64)
    content = {"sample": Item((rows,), np.dtype(np.int64), ("sample",), {"long_name": "trajectory index"})}
    content |= _coordinates(header)
    for kind, lead in zip(FIELD_KINDS, (("sample", "time"), ("sample",)), strict=True):
        for field in header.fields(kind):
            content[field_path(field)] = _field(header, field, lead, rows)
    for parameter in spec.parameters:
        content[f"scalars/{parameter.name}"] = Item(
            (rows,), double, ("sample",), _unit_and_name(parameter) | _varying("sample")
        )
    for invariant in spec.invariants:
        content[f"scalars/{invariant.name}"] = Item(
            (rows, steps), double, ("sample", "time"), _unit_and_name(invariant) | _varying("sample", "time")
        )
    for name, shape in header.parameter_shapes.items():
        content[f"parameters/{name}"] = Item((rows, *shape), double, ("sample",), _varying("sample"))
    return content | _boundaries(header)


def group_attributes(header: Header, rows: int) -> dict[str, Attributes]:
    """Return the attributes of the file and of its groups, by path.

    The attribute `complete` is false until the whole shard is written.
    """
    spec = header.spec
    fields = [*spec.fields, *spec.coefficient_fields]
    scalars = [*spec.parameter_names, *(invariant.name for invariant in spec.invariants)]
    groups: dict[str, Attributes] = {
        "/": header.attributes
        | {
            "dataset_name": spec.name,
            "equation": spec.equation,
            "grid_type": "cartesian",
            "n_spatial_dims": len(spec.axes),
            "n_trajectories": rows,
            "simulation_parameters": _texts(spec.parameter_names),
            "schema_version": schema_version(spec),
            "complete": False,
        },
        "dimensions": {"spatial_dims": _texts(spec.axis_names)},
        "scalars": {"field_names": _texts(scalars)},
    }
    for order in range(3):
        names = [field.name for field in fields if field.tensor_order == order]
        groups[f"t{order}_fields"] = {"field_names": _texts(names)}
    for axis in spec.axes:
        condition: Attributes = {
            "associated_dims": _texts([axis.name]),
            "associated_fields": _texts([field.name for field in spec.fields if axis.has_walls]),
            "bc_type": "wall" if axis.has_walls else axis.boundary,
            "condition": axis.boundary,
        }
        groups[f"boundary_conditions/{axis.name}_boundary"] = condition | _varying()
    return groups


def _coordinates(header: Header) -> dict[str, Item]:
    """Return time, the axes, and the names of vector components."""
    precision, spec = np.dtype(header.precision), header.spec
    time = {"units": "s", "long_name": "time"} | _varying()
    times = header.times.astype(precision)
    content = {"dimensions/time": Item(header.times.shape, precision, ("time",), time, times)}
    for axis in spec.axes:
        description = "number of the particle" if spec.has_particles else f"cell centres along {axis.name}"
        attributes = {"units": axis.unit, "long_name": description} | _varying()
        content[f"dimensions/{axis.name}"] = Item(
            (axis.size,), precision, (axis.name,), attributes, axis.centres.astype(precision)
        )
    if any(field.tensor_order for field in (*spec.fields, *spec.coefficient_fields)):
        names = np.array([name.encode() for name in spec.sites.directions])
        component: Attributes = {"long_name": "component of a vector"}
        content["component"] = Item(names.shape, names.dtype, ("component",), component, names)
    return content


def _field(header: Header, field: Field, lead: tuple[str, ...], rows: int) -> Item:
    """Return the dataset of a field; `lead` holds the dimensions before the sites."""
    spec = header.spec
    components = spec.components(field) if field.tensor_order else ()
    shape = (rows, *([len(header.times)] if "time" in lead else []), *spec.shape)
    return Item(
        shape + ((len(components),) if components else ()),
        np.dtype(header.precision),
        (*lead, *spec.axis_names, *(["component"] if components else [])),
        _unit_and_name(field) | _varying(*lead) | {"dim_varying": np.ones(len(spec.axes), bool)},
    )


def _boundaries(header: Header) -> dict[str, Item]:
    """Return the boundary conditions: for each axis, a mask of its two end cells and two boundary values.

    The values have a meaning only at walls.
    """
    content = {}
    for axis in header.spec.axes:
        group = f"boundary_conditions/{axis.name}_boundary"
        mask = _end_cells(axis)
        values = np.array(axis.boundary_values, np.dtype(header.precision))
        content[f"{group}/mask"] = Item(mask.shape, mask.dtype, (axis.name,), {}, mask)
        content[f"{group}/values"] = Item(values.shape, values.dtype, (), {}, values)
    return content


def _end_cells(axis: Axis) -> np.ndarray:
    mask = np.zeros(axis.size, bool)
    mask[[0, -1]] = True
    return mask


def _unit_and_name(quantity: Quantity) -> Attributes:
    return {"units": quantity.unit, "long_name": quantity.description}


def _varying(*along: str) -> Attributes:
    """Return attributes of The Well that state whether values vary by trajectory and in time."""
    return {"sample_varying": "sample" in along, "time_varying": "time" in along}


def _texts(names: list[str] | tuple[str, ...]) -> np.ndarray:
    return np.array(names, dtype=_TEXT)
