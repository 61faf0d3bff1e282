"""What a shard holds: every dataset of The Well's HDF5 layout, with its place, shape and meaning.

The Well: Ohana et al. 2024, arXiv 2412.00568; github.com/PolymathicAI/the_well, docs/data_format.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

SCHEMA_VERSION = 2
_TEXT = h5py.string_dtype()


@dataclass(frozen=True)
class Header:
    """What all shards of a data set share.

    `spec` is a solver's `Spec` as plain data; `times` (T,) those of the frames; `precision` the type
    of fields and coordinates; `parameter_shapes` the shapes of the parameters that are arrays;
    `attributes` further marks on the file (seed, solver, code version).
    """

    spec: dict[str, Any]
    times: np.ndarray
    precision: str
    parameter_shapes: dict[str, tuple[int, ...]]
    attributes: dict[str, Any]

    @property
    def sites(self) -> tuple[int, ...]:
        """The number of sites along each axis."""
        return tuple(axis["size"] for axis in self.spec["axes"])

    @property
    def axes(self) -> list[str]:
        """The names of the axes."""
        return [axis["name"] for axis in self.spec["axes"]]

    @property
    def parameters(self) -> list[str]:
        """The names of the scalar parameters."""
        return [parameter["name"] for parameter in self.spec["parameters"]]

    def channels(self, kind: str) -> list[str]:
        """The channels of `fields` or `coefficients`; a vector has one for each axis: `name_axis`."""
        return [name for field in self.spec[kind] for name in channel_names(field, self.axes)]


@dataclass(frozen=True)
class Item:
    """One dataset of a shard. `dimensions` names its leading axes; `values` are those that the layout
    itself fixes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dimensions: tuple[str, ...]
    attributes: dict[str, Any]
    values: np.ndarray | None = None

    @property
    def row_bytes(self) -> int:
        """The bytes of one trajectory."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    @property
    def varies(self) -> bool:
        """Whether each trajectory has its own values."""
        return self.values is None


def channel_names(field: dict[str, Any], axes: list[str]) -> list[str]:
    """The channels of one field: its name, or `name_axis` for each component of a vector."""
    return [f"{field['name']}_{axis}" for axis in axes] if field["order"] else [field["name"]]


def field_path(field: dict[str, Any]) -> str:
    """Where a field of the spec lies: `t0_fields/NAME` for scalars, `t1_fields/NAME` for vectors."""
    return f"t{field['order']}_fields/{field['name']}"


def items(header: Header, rows: int) -> dict[str, Item]:
    """Every dataset of a shard of `rows` trajectories, by its path."""
    steps = len(header.times)
    double = np.dtype(np.float64)
    found = {"sample": Item((rows,), np.dtype(np.int64), ("sample",), {"long_name": "trajectory index"})}
    found |= _coordinates(header)
    for kind, lead in (("fields", ("sample", "time")), ("coefficients", ("sample",))):
        for field in header.spec[kind]:
            found[field_path(field)] = _field(header, field, lead, rows)
    for quantity in header.spec["parameters"]:
        found[f"scalars/{quantity['name']}"] = Item(
            (rows,), double, ("sample",), _meaning(quantity) | _varying("sample")
        )
    for quantity in header.spec["invariants"]:
        found[f"scalars/{quantity['name']}"] = Item(
            (rows, steps), double, ("sample", "time"), _meaning(quantity) | _varying("sample", "time")
        )
    for name, shape in header.parameter_shapes.items():
        found[f"parameters/{name}"] = Item((rows, *shape), double, ("sample",), _varying("sample"))
    return found | _boundaries(header)


def group_attributes(header: Header, rows: int) -> dict[str, dict[str, Any]]:
    """The attributes of the file and of its groups, by path; `complete` is false until all is written."""
    spec = header.spec
    fields = [*spec["fields"], *spec["coefficients"]]
    found: dict[str, dict[str, Any]] = {
        "/": header.attributes
        | {
            "dataset_name": spec["name"],
            "equation": spec["equation"],
            "grid_type": "cartesian",
            "n_spatial_dims": len(spec["axes"]),
            "n_trajectories": rows,
            "simulation_parameters": _texts(header.parameters),
            "schema_version": SCHEMA_VERSION,
            "complete": False,
        },
        "dimensions": {"spatial_dims": _texts(header.axes)},
        "scalars": {"field_names": _texts(header.parameters + [item["name"] for item in spec["invariants"]])},
    }
    for order in range(3):
        names = [field["name"] for field in fields if field["order"] == order]
        found[f"t{order}_fields"] = {"field_names": _texts(names)}
    for axis in spec["axes"]:
        kind = axis["boundary"]
        walls = kind in ("dirichlet", "neumann")
        found[f"boundary_conditions/{axis['name']}_boundary"] = {
            "associated_dims": _texts([axis["name"]]),
            "associated_fields": _texts([field["name"] for field in spec["fields"] if walls]),
            "bc_type": "wall" if walls else kind,
            "condition": kind,
        } | _varying()
    return found


def _coordinates(header: Header) -> dict[str, Item]:
    kind = np.dtype(header.precision)
    time = {"units": "s", "long_name": "time"} | _varying()
    found = {"dimensions/time": Item(header.times.shape, kind, ("time",), time, header.times.astype(kind))}
    for axis in header.spec["axes"]:
        name, size, lower, upper = axis["name"], axis["size"], axis["lower"], axis["upper"]
        centres = lower + (upper - lower) / size * (np.arange(size) + 0.5)
        words = "number of the particle" if name == "particle" else f"cell centres along {name}"
        attributes = {"units": axis["unit"], "long_name": words} | _varying()
        found[f"dimensions/{name}"] = Item((size,), kind, (name,), attributes, centres.astype(kind))
    if any(field["order"] for field in header.spec["fields"] + header.spec["coefficients"]):
        names = np.array([name.encode() for name in header.axes])
        component = {"long_name": "component of a vector"}
        found["component"] = Item(names.shape, names.dtype, ("component",), component, names)
    return found


def _field(header: Header, field: dict[str, Any], lead: tuple[str, ...], rows: int) -> Item:
    vector = field["order"] == 1
    shape = (rows, *([len(header.times)] if "time" in lead else []), *header.sites)
    return Item(
        shape + ((len(header.axes),) if vector else ()),
        np.dtype(header.precision),
        (*lead, *header.axes, *(["component"] if vector else [])),
        _meaning(field) | _varying(*lead) | {"dim_varying": np.ones(len(header.axes), bool)},
    )


def _boundaries(header: Header) -> dict[str, Item]:
    """The mask of each axis marks its two end cells; the values mean something at walls alone."""
    found = {}
    for axis in header.spec["axes"]:
        group, name = f"boundary_conditions/{axis['name']}_boundary", axis["name"]
        mask = np.zeros(axis["size"], bool)
        mask[[0, -1]] = True
        values = np.array(axis["boundary_values"], np.dtype(header.precision))
        found[f"{group}/mask"] = Item(mask.shape, mask.dtype, (name,), {}, mask)
        found[f"{group}/values"] = Item(values.shape, values.dtype, (), {}, values)
    return found


def _meaning(quantity: dict[str, Any]) -> dict[str, Any]:
    return {"units": quantity["unit"], "long_name": quantity["description"]}


def _varying(*along: str) -> dict[str, bool]:
    return {"sample_varying": "sample" in along, "time_varying": "time" in along}


def _texts(names: list[str]) -> np.ndarray:
    return np.array(names, dtype=_TEXT)
