"""The description of the data of an external program, and the `Spec` that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from simsurrogate.errors import UserError
from simsurrogate.spec import Axis, Boundary, Field, Grid, Parameter, Particles, Spec
from solvers.numerics.grid import MAX_CELLS_OF_AXIS
from solvers.numerics.parameter_sampling import check_ranges

#: The name of the drawn integer that a program with `random_seed: true` receives.
SEED_NAME = "random_seed"


@dataclass(frozen=True)
class AxisOptions:
    """An axis of the grid: `size` equal cells in `extent`, from 0 or between two ends."""

    size: Annotated[int, Gt(0), Le(MAX_CELLS_OF_AXIS)]
    extent: tuple[float, float] | float = 1.0
    boundary: Boundary = "periodic"
    boundary_values: tuple[float, float] = (0.0, 0.0)
    unit: str = "m"

    @property
    def ends(self) -> tuple[float, float]:
        """The lower and the upper end of the axis."""
        return self.extent if isinstance(self.extent, tuple) else (0.0, self.extent)


@dataclass(frozen=True)
class ParticleOptions:
    """Particles instead of a grid, with the vector fields position and velocity and the mass of each."""

    count: Annotated[int, Gt(0), Le(MAX_CELLS_OF_AXIS)]
    dimension: Annotated[int, Ge(1), Le(3)]


@dataclass(frozen=True)
class FieldOptions:
    """A field, see `simsurrogate.spec.Field`; a `vector` has one channel for each direction."""

    unit: str
    description: str = ""
    vector: bool = False
    conserved: bool = False


@dataclass(frozen=True)
class ParameterOptions:
    """A scalar parameter, drawn uniformly in `range` for each trajectory."""

    unit: str
    range: tuple[float, float]
    description: str = ""


def spec_of(
    *,
    problem: str,
    equation: str,
    axes: Mapping[str, AxisOptions],
    particles: ParticleOptions | None,
    fields: Mapping[str, FieldOptions],
    coefficient_fields: Mapping[str, FieldOptions],
    parameters: Mapping[str, ParameterOptions],
    random_seed: bool,
    autonomous: bool,
) -> Spec:
    """Return the spec of the described data.

    Raises:
        UserError: there is no field, no grid or a wrong one, or a range is in the wrong order.
    """
    if not fields:
        raise UserError(
            "solver.fields is empty. A program writes at least one field. Type, for example, "
            "solver.fields={temperature: {unit: K}}"
        )
    check_ranges(**{f"parameters.{name}.range": options.range for name, options in parameters.items()})
    return Spec(
        name=problem,
        equation=equation,
        sites=_sites(axes, particles),
        fields=_fields(fields),
        coefficient_fields=_fields(coefficient_fields),
        parameters=tuple(
            Parameter(name, options.unit, options.description or name.replace("_", " "), *options.range)
            for name, options in parameters.items()
        ),
        invariants=(),
        autonomous=autonomous,
        parametric=not random_seed,
    )


def _sites(axes: Mapping[str, AxisOptions], particles: ParticleOptions | None) -> Grid | Particles:
    if bool(axes) == (particles is not None):
        raise UserError(
            f"solver.axes={list(axes)} and solver.particles={particles} are "
            f"{'both given' if axes else 'both empty'}. The fields live either on the cells of a grid or on "
            "particles. Type solver.axes={x: {size: 64, extent: 1.0}}, or solver.particles={count: 3, "
            "dimension: 2}"
        )
    if particles is not None:
        return Particles(particles.count, particles.dimension)
    for name, axis in axes.items():
        if axis.ends[0] >= axis.ends[1]:
            raise UserError(
                f"solver.axes.{name}.extent={axis.extent} has no length. The lower end comes first, or the "
                f"length is positive. Type solver.axes.{name}.extent=1.0"
            )
    return Grid(
        tuple(
            Axis(name, axis.unit, axis.size, *axis.ends, axis.boundary, axis.boundary_values)
            for name, axis in axes.items()
        )
    )


def _fields(fields: Mapping[str, FieldOptions]) -> tuple[Field, ...]:
    return tuple(
        Field(
            name,
            options.unit,
            options.description or name.replace("_", " "),
            tensor_order=int(options.vector),
            conserved=options.conserved,
        )
        for name, options in fields.items()
    )
