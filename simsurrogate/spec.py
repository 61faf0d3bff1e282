"""The description of a problem that solver, data set and surrogate share.

A state is one array `(channels, *sites)`. Sites are the cells of a grid or particles. A scalar field has one
channel. A vector field has one channel for each direction, for example `velocity_x` and `velocity_y`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import pydantic

from simsurrogate.sites import DIRECTIONS, Axis, Boundary, Coarsening, Grid, Particles, cell_fractions
from simsurrogate.symmetries import Symmetry, check_symmetries

__all__ = [
    "DIRECTIONS",
    "Axis",
    "Boundary",
    "Coarsening",
    "Field",
    "Grid",
    "Parameter",
    "Particles",
    "Quantity",
    "QuantityOfInterest",
    "Spec",
    "cell_fractions",
    "diagonal_names",
]


@dataclass(frozen=True)
class Quantity:
    """A number with a name (snake_case), a unit (SI, `1` for none) and a description of one sentence."""

    name: str
    unit: str
    description: str


@dataclass(frozen=True)
class QuantityOfInterest(Quantity):
    """A scalar of each frame of a trajectory, such as the largest temperature in a region.

    A solver computes its own quantities (`solvers.contract.Trajectory.quantities`). A quantity with `reduce`
    is the extreme value or the mean of the channel `of` over the cells whose centres lie in `region`. Each
    entry of `region` holds an axis and its lower and upper end (m). `time_above` is the time (s) from the
    start to the frame during which the largest value is above `threshold`, linear between two frames.
    """

    of: str = ""
    reduce: Literal["max", "min", "mean", "time_above"] | None = None
    region: tuple[tuple[str, float, float], ...] = ()
    threshold: float = 0.0


@dataclass(frozen=True)
class Field(Quantity):
    """A quantity at every site; `tensor_order` is 0 for a scalar and 1 for a vector.

    The mean of a `conserved` field over the box never changes. A `divergence_free` field is a vector field
    of zero divergence. A `pseudo` field, such as vorticity, also changes its sign in a reflection. A scalar
    coefficient field with a `conductivity_range` multiplies a gradient in a flux, as a conductivity does, and
    its values are positive and lie about in this range. Fields with a `direction`, the last word of their
    names, are the diagonal of a tensor: an exchange of axes exchanges these fields.
    """

    tensor_order: int = 0
    conserved: bool = False
    divergence_free: bool = False
    pseudo: bool = False
    direction: Annotated[str, pydantic.Field(pattern="^[xyz]?$")] = ""
    conductivity_range: tuple[float, float] | None = None


def diagonal_names(field: Field, directions: Sequence[str]) -> list[str]:
    """Return the names of the fields that hold a diagonal with `field`, in the order of the directions."""
    stem = field.name.removesuffix(field.direction)
    return [stem + direction for direction in directions]


def check_diagonals(fields: Sequence[Field], directions: Sequence[str]) -> None:
    """Check that fields with a direction hold whole diagonals.

    Raises:
        ValueError: a field of a diagonal is missing.
    """
    names = {field.name for field in fields}
    for field in fields:
        if field.direction and not {field.name, *diagonal_names(field, directions)} <= names:
            raise ValueError(f"{field.name} needs a field for each of the directions {directions}")


@dataclass(frozen=True)
class Parameter(Quantity):
    """A scalar that is drawn for each trajectory, between `low` and `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class Spec:
    """The equation, the sites, the fields and the parameters of a problem.

    Attributes:
        name: the name of the solver or of the problem.
        equation: the equation as a formula.
        sites: the grid or the particles that carry the fields.
        fields: the fields of the state, in the order of its channels.
        coefficient_fields: the fields that are constant in time, drawn for each trajectory.
        parameters: the scalars that are drawn for each trajectory.
        invariants: the quantities of a state that are conserved or change at a known rate.
        autonomous: whether the equation does not depend explicitly on time.
        parametric: whether the scalar parameters alone determine a trajectory, without drawn arrays.
        compatible_initial_state: whether initial states satisfy the boundary conditions.
        smooth_coefficients: whether coefficient fields have no jumps.
        deterministic: whether the initial state, the coefficient fields, the scalar parameters and the time
            determine a trajectory. A random forcing that is none of these inputs makes it False.
        chaotic: whether small errors may grow until a trajectory is not predictable.
        coarsening: the map from the solver's finer grid to these sites; None if both are the same.
        symmetries: the operations under which the equation and the drawn distribution are invariant.
        quantities: the quantities of interest, which the data store for each frame.
        linear_in: the scalar parameters in which the solution is jointly affine, all other parameters fixed:
            u(a p + (1 - a) q) = a u(p) + (1 - a) u(q) for values p and q of these parameters.

    Raises:
        ValueError: a symmetry does not suit the sites or the fields, a field of a diagonal or a linear
            parameter is missing.
    """

    name: str
    equation: str
    sites: Grid | Particles
    fields: Annotated[tuple[Field, ...], pydantic.Field(min_length=1)]
    coefficient_fields: tuple[Field, ...]
    parameters: tuple[Parameter, ...]
    invariants: tuple[Quantity, ...]
    autonomous: bool
    parametric: bool
    compatible_initial_state: bool = True
    smooth_coefficients: bool = True
    deterministic: bool = True
    chaotic: bool = False
    coarsening: Coarsening | None = None
    symmetries: tuple[Symmetry, ...] = ()
    quantities: tuple[QuantityOfInterest, ...] = ()
    linear_in: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        check_symmetries(self.symmetries, self.shape, names, self.has_particles)
        for fields in (self.fields, self.coefficient_fields):
            check_diagonals(fields, self.sites.directions)
        if missing := {*self.linear_in} - {parameter.name for parameter in self.parameters}:
            raise ValueError(f"linear_in names no parameter: {', '.join(sorted(missing))}")

    def __repr__(self) -> str:
        return f"Spec {self.summary}"

    @property
    def summary(self) -> str:
        """The name, the sites and the fields: `heat: 24x24 cells, temperature`."""
        sites = "particles" if self.has_particles else "cells"
        fields = ", ".join(field.name for field in self.fields)
        return f"{self.name}: {'x'.join(map(str, self.shape))} {sites}, {fields}"

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of the sites."""
        return self.sites.axes

    @property
    def axis_names(self) -> tuple[str, ...]:
        """The names of the axes."""
        return tuple(axis.name for axis in self.axes)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The number of sites along each axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def has_particles(self) -> bool:
        """Whether the sites are particles instead of grid cells."""
        return isinstance(self.sites, Particles)

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels of the state."""
        return self.channels_of(self.fields)

    @property
    def channel_units(self) -> tuple[str, ...]:
        """The unit of each channel of the state."""
        return tuple(field.unit for field in self.fields for _ in self.components(field))

    @cached_property
    def coefficient_channels(self) -> tuple[str, ...]:
        """The names of the channels of the coefficient fields."""
        return self.channels_of(self.coefficient_fields)

    @property
    def field_channels(self) -> tuple[tuple[int, ...], ...]:
        """The channel indices of each field of the state: ((0,), (1, 2)) for a scalar and a vector field."""
        indices = iter(range(len(self.channels)))
        return tuple(tuple(next(indices) for _ in self.components(field)) for field in self.fields)

    @property
    def conserved_channels(self) -> tuple[str, ...]:
        """The channels whose mean over the box never changes."""
        return self.channels_of(field for field in self.fields if field.conserved)

    @property
    def divergence_free_channels(self) -> tuple[tuple[str, ...], ...]:
        """The channels of each divergence-free vector field."""
        return tuple(self.components(field) for field in self.fields if field.divergence_free)

    @property
    def frame_invariants(self) -> tuple[Quantity, ...]:
        """The invariants that a stored frame determines: none on a coarser grid than the solver's."""
        return () if self.coarsening else self.invariants

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        """The names of the scalar parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def linear_parameters(self) -> tuple[int, ...]:
        """The positions of the parameters of `linear_in`."""
        return tuple(self.parameter_names.index(name) for name in self.linear_in)

    @property
    def parameter_ranges(self) -> tuple[tuple[float, float], ...]:
        """The range of each scalar parameter."""
        return tuple((parameter.low, parameter.high) for parameter in self.parameters)

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """The boundary condition of each axis."""
        return tuple(axis.boundary for axis in self.axes)

    @property
    def boundary_values(self) -> tuple[tuple[float, float], ...]:
        """The boundary values of each axis, at its lower and its upper end."""
        return tuple(axis.boundary_values for axis in self.axes)

    @property
    def lower(self) -> tuple[float, ...]:
        """The lower end of each axis."""
        return tuple(axis.lower for axis in self.axes)

    @property
    def extent(self) -> tuple[float, ...]:
        """The length of each axis."""
        return tuple(axis.extent for axis in self.axes)

    def components(self, field: Field) -> tuple[str, ...]:
        """Return the channel names of one field: `name` for a scalar, `name_direction` for a vector."""
        if field.tensor_order == 0:
            return (field.name,)
        return tuple(f"{field.name}_{direction}" for direction in self.sites.directions)

    def channels_of(self, fields: Iterable[Field]) -> tuple[str, ...]:
        """Return the channel names of the given fields, in order."""
        return tuple(name for field in fields for name in self.components(field))

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain lists, numbers and strings."""
        document: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return document
