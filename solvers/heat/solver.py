"""Heat conduction in a box of one, two or three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Len
from mpi4py import MPI

from simsurrogate import spec as description
from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS, Axis, Field, Quantity, Spec
from solvers.contract import DivergedError, Parameters, Solver, SteppedTrajectory
from solvers.heat.diffusivity import DIFFUSIVITIES
from solvers.heat.heaters import Heaters
from solvers.heat.initial import INITIALS, Harmonics, Initial, profile_meets_walls, wall_profile
from solvers.heat.operator import Walls, walls
from solvers.heat.options import (
    Boundary,
    BoundaryValues,
    DiffusivityOptions,
    HeaterOptions,
    InitialOptions,
    check_ranges,
)
from solvers.heat.schemes.choose import Schemes
from solvers.heat.schemes.scheme import Scheme
from solvers.numerics.grid import Grid
from solvers.numerics.parameter_sampling import draw

_Positive = Annotated[float, Gt(0)]
_Cells = Annotated[int, Ge(2)]


class Heat(Solver):
    """u_t = div(k(x) grad u) + f(x, t) for the temperature u (K), state (1, *cells).

    k (m^2/s) is the thermal conductivity over the volumetric heat capacity, f (K/s) the heating over it.
    Cell-centred finite volumes of second order (`heat_operator`). Schemes in time:

    exact: the exact propagator of the discrete operator, for constant k (`heat_exact`).
    adi:   alternating directions of second order with a controlled error, for any k on one rank (`heat_adi`).
    rkl2:  super-time-stepping of second order with a controlled error, for any k (`heat_explicit`).
    euler: forward Euler, first order, stable up to 1 / (2 k sum of 1 / h^2); on request only.

    `automatic` takes exact where k is constant, adi where it varies smoothly, one rank has the whole box and
    no step is declared, and else rkl2. A scheme is the same on any number of ranks: name rkl2 where runs on
    one rank and on several are to agree to round-off.

    Args:
        extent: length of each axis, m; their number is the dimension.
        resolution: cells of each axis, or one number for all.
        boundary: kind of the ends of each axis.
        boundary_values: temperature (dirichlet, K) or heat flux into the box (neumann, K m/s) at them.
        diffusivity: how k is drawn.
        heaters: how f is drawn.
        initial: how u(x, 0) is drawn; along dirichlet axes the linear profile between the walls is added.
        scheme: see above.
        time_step: declared step of adi, rkl2 or euler, s; None leaves it to the solver.
        tolerance: error that a step of adi or rkl2 may make, over the standard deviation of u in the box.
        communicator: the ranks that share one trajectory.

    Raises:
        UserError: options that do not work together, adi on several ranks or with a declared
            step in three dimensions, more ranks than rows, a grid too
            coarse for the fields that are drawn (`resolving`), or a declared step of euler over the stability
            limit. That limit is known for k up to the end of its range (lognormal: four standard deviations);
            a trajectory that exceeds it ends in a `DivergedError`.
    """

    def __init__(
        self,
        *,
        extent: Annotated[list[_Positive], Len(1, 3)],
        resolution: _Cells | list[_Cells],
        boundary: Boundary,
        boundary_values: BoundaryValues,
        diffusivity: DiffusivityOptions,
        heaters: HeaterOptions,
        initial: InitialOptions,
        scheme: Literal["automatic", "exact", "adi", "rkl2", "euler"],
        time_step: _Positive | None,
        tolerance: _Positive,
        communicator: MPI.Intracomm,
    ):
        num_axes = len(extent)
        counts = [resolution] * num_axes if isinstance(resolution, int) else resolution
        if len(counts) != num_axes:
            raise UserError(
                f"resolution={counts} has {len(counts)} numbers and extent={extent} has {num_axes}: give one "
                "number for each axis, or a single one for all"
            )
        check_ranges(diffusivity=diffusivity, heaters=heaters, initial=initial)
        names = DIRECTIONS[:num_axes]
        kinds = tuple(getattr(boundary, name) for name in names)
        self.communicator = communicator
        self.grid = Grid(communicator, tuple(extent), tuple(counts), kinds)
        self.block = self.grid.block
        self._wall_values = tuple(getattr(boundary_values, name) for name in names)
        self._diffusivity = DIFFUSIVITIES[diffusivity.kind](self.grid, diffusivity)
        self._heaters = Heaters(self.grid, heaters)
        self._initial = INITIALS[initial.kind](self.grid, initial)
        self._schemes = Schemes(self.grid, self._diffusivity, scheme, time_step, tolerance)
        self.method = self._schemes.method
        self.spec = self._describe()

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """See `Solver.sample`."""
        drawn: Parameters = {**draw(self.spec.parameters, rng, outside)}
        for part in (self._diffusivity, self._heaters, self._initial):
            drawn.update(part.draw_arrays(rng))
        return drawn

    def prepare(self, parameters: Parameters) -> HeatTrajectory:
        """Return the trajectory of these parameters, see `Solver.prepare`."""
        k = self._diffusivity.field(parameters)
        at_walls = walls(self.grid, self._wall_values, k)
        patterns = self._heaters.patterns(parameters)
        fields = [k] if self._diffusivity.fields else []
        coefficient_fields: np.ndarray = np.array(fields + patterns).reshape(-1, *self.grid.block_shape)
        return HeatTrajectory(
            parameters=parameters,
            grid=self.grid,
            heaters=self._heaters,
            initial=self._initial,
            wall_values=self._wall_values,
            patterns=patterns,
            walls=at_walls,
            scheme=self._schemes.build(k, at_walls),
            coefficient_fields=coefficient_fields,
        )

    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """See `Solver.residual`: u_t - div(k grad u) - f in K/s; heaters need the time, `fields["t"]`."""
        temperature = fields["temperature"]
        k = fields["diffusivity"] if self._diffusivity.fields else parameters["diffusivity"]
        result = derivative(temperature, "t")
        for axis in self.spec.axes:
            result = result - derivative(k * derivative(temperature, axis.name), axis.name)
        for name in self._heaters.names:
            since = fields["t"] - parameters[f"{name}_start"]
            is_on = (since >= 0) * (since < parameters[f"{name}_duration"])
            result = result - is_on * fields[name]
        return {"heat": result}

    def initial_condition(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """See `Solver.initial_condition`."""
        if not self.spec.parametric or not isinstance(self._initial, Harmonics):
            return super().initial_condition(coordinates, parameters, xp)
        profile = wall_profile(self.grid, self._wall_values, coordinates)
        return {"temperature": self._initial.at(coordinates, parameters, xp) + profile}

    def _describe(self) -> Spec:
        grid = self.grid
        axes = tuple(
            Axis(name, "m", count, 0.0, length, kind, (0.0, 0.0) if kind == "periodic" else values)
            for name, count, length, kind, values in zip(
                DIRECTIONS, grid.resolution, grid.extent, grid.boundary, self._wall_values, strict=False
            )
        )
        heat_unit = "K m" if len(axes) == 1 else f"K m^{len(axes)}"
        supply = sum(sum(axis.boundary_values) / (axis.upper - axis.lower) for axis in axes)
        is_closed = "dirichlet" not in grid.boundary and supply == 0 and not self._heaters.names
        return Spec(
            name="heat",
            equation="u_t = div(k grad u) + f",
            sites=description.Grid(axes),
            fields=(Field("temperature", "K", "temperature u", conserved=is_closed),),
            coefficient_fields=(*self._diffusivity.fields, *self._heaters.fields),
            parameters=(
                *self._diffusivity.parameters,
                *self._heaters.parameters,
                *self._initial.parameters,
            ),
            invariants=(Quantity("total_heat", heat_unit, "integral of the temperature over the box"),),
            autonomous=not self._heaters.names,
            parametric=self._initial.parametric and not self._diffusivity.fields and not self._heaters.names,
            compatible_initial_state=self._initial.meets_walls
            and profile_meets_walls(grid, self._wall_values),
            smooth_coefficients=self._diffusivity.smooth,
        )


@dataclass(frozen=True)
class HeatTrajectory(SteppedTrajectory):
    """The temperature (K) under one set of parameters.

    `patterns` (K/s) are those of the heaters; `wall_values` the temperatures (K) or fluxes (K m/s) at the
    ends of each axis.
    """

    parameters: Parameters
    grid: Grid
    heaters: Heaters
    initial: Initial
    wall_values: tuple[tuple[float, float], ...]
    patterns: list[np.ndarray]
    walls: Walls
    scheme: Scheme
    coefficient_fields: np.ndarray

    @cached_property
    def initial_state(self) -> np.ndarray:  # type: ignore[override]
        """The temperature at time 0: what is drawn, and along dirichlet axes the walls' linear profile."""
        profile = wall_profile(self.grid, self.wall_values, self.grid.mesh)
        return np.expand_dims(self.initial.field(self.parameters) + profile, 0)

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        """Advance the temperature; a step ends where a heater switches. See `SteppedTrajectory.advance`."""
        temperature = state[0]
        for length, source in self._constant_intervals(time, duration):
            temperature = self.scheme.advance(temperature, source, length)
        num_bad = int(self.grid.total(float(np.count_nonzero(~np.isfinite(temperature))))[0])
        if num_bad:
            raise DivergedError(f"{num_bad} cells are not finite at time {time + duration:g} s")
        return np.expand_dims(temperature, 0)

    def budget(self, state: np.ndarray, time: float, duration: float) -> dict[str, float]:
        """Return the heat (K m^d) that walls and heaters supply to the whole box during `advance`.

        It is found from the flux through the walls and the power of the heaters, in the scheme's own
        quadrature over time.
        """
        temperature, supplied = state[0], 0.0
        for length, source in self._constant_intervals(time, duration):
            supplied += self.scheme.heat_supplied(temperature, source, length)
            temperature = self.scheme.advance(temperature, source, length)
        return {"total_heat": supplied}

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return the integral of the temperature over the box, which `budget` alone changes."""
        return {"total_heat": float(self.grid.total(np.sum(state))[0]) * self.grid.cell_volume}

    def _constant_intervals(self, time: float, duration: float) -> Iterator[tuple[float, np.ndarray | None]]:
        """The intervals (s) over which the source (K/s) is constant, and that source."""
        walls_supply = any(
            any(values)
            for values, kind in zip(self.wall_values, self.grid.boundary, strict=True)
            if kind != "periodic"
        )
        for length, active in self.heaters.constant_intervals(self.parameters, time, duration):
            source = sum((self.patterns[number] for number in active), self.walls.supply)
            yield length, source if active or walls_supply else None
