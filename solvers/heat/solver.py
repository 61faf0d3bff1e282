"""Heat conduction in a box of one, two or three dimensions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Len
from mpi4py import MPI

from solvers.contract import Axis, DivergedError, Field, Parameters, Quantity, Solver, Spec
from solvers.heat.diffusivity import DIFFUSIVITIES
from solvers.heat.heaters import Heaters
from solvers.heat.initial import INITIALS, Harmonics, profile_meets_walls, wall_profile
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
from solvers.numerics.grid import AXIS_NAMES, Grid
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
        ValueError: options that do not work together, adi on several ranks or with a declared
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
            raise ValueError(
                f"resolution={counts} has {len(counts)} numbers and extent={extent} has {num_axes}: give one "
                "number for each axis, or a single one for all"
            )
        check_ranges(diffusivity=diffusivity, heaters=heaters, initial=initial)
        names = AXIS_NAMES[:num_axes]
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
        self.counts = {}
        self.spec = self._describe()
        self._last: tuple[Parameters, _Trajectory] | None = None

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """See `Solver.sample`."""
        drawn: Parameters = {**draw(self.spec.parameters, rng, outside)}
        for part in (self._diffusivity, self._heaters, self._initial):
            drawn.update(part.draw_arrays(rng))
        return drawn

    def coefficients(self, parameters: Parameters) -> np.ndarray:
        """See `Solver.coefficients`: k where it is variable, then the pattern of each heater."""
        trajectory = self._trajectory(parameters)
        fields = [trajectory.diffusivity] if self._diffusivity.fields else []
        stacked: np.ndarray = np.array(fields + trajectory.patterns)
        return stacked.reshape(-1, *self.grid.block_shape)

    def initial_state(self, parameters: Parameters) -> np.ndarray:
        """See `Solver.initial_state`."""
        profile = wall_profile(self.grid, self._wall_values, self.grid.mesh)
        temperature = self._initial.field(parameters) + profile
        return np.expand_dims(temperature, 0)

    def advance(self, state: np.ndarray, parameters: Parameters, time: float, duration: float) -> np.ndarray:
        """See `Solver.advance`; a step ends where a heater switches."""
        trajectory = self._trajectory(parameters)
        temperature = state[0]
        for length, source in self._pieces(trajectory, parameters, time, duration):
            temperature = trajectory.scheme.advance(temperature, source, length)
        num_bad = int(self.grid.total(float(np.count_nonzero(~np.isfinite(temperature))))[0])
        if num_bad:
            raise DivergedError(f"{num_bad} cells are not finite at time {time + duration:g} s")
        return np.expand_dims(temperature, 0)

    def heat_supplied(self, state: np.ndarray, parameters: Parameters, time: float, duration: float) -> float:
        """The heat (K m^d) that walls and heaters supply to the whole box during `advance`.

        It is found from what crosses the walls and what the heaters give, in the scheme's own quadrature
        over time; the invariant `total_heat` changes by it to round-off.
        """
        trajectory = self._trajectory(parameters)
        temperature, supplied = state[0], 0.0
        for length, source in self._pieces(trajectory, parameters, time, duration):
            supplied += trajectory.scheme.heat_supplied(temperature, source, length)
            temperature = trajectory.scheme.advance(temperature, source, length)
        return supplied

    def invariants(self, state: np.ndarray, parameters: Parameters) -> dict[str, float]:
        """See `Solver.invariants`: the integral of u over the box, which `heat_supplied` alone changes."""
        return {"total_heat": float(self.grid.total(np.sum(state))[0]) * self.grid.cell_volume}

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

    def _fields_at_start(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], functions: Any
    ) -> dict[str, Any]:
        """See `Solver.fields_at_start`."""
        assert isinstance(self._initial, Harmonics)
        profile = wall_profile(self.grid, self._wall_values, coordinates)
        return {"temperature": self._initial.at(coordinates, parameters, functions) + profile}

    def _trajectory(self, parameters: Parameters) -> _Trajectory:
        """What stays the same along a trajectory; kept until other parameters come."""
        if self._last is None or not _equal(self._last[0], parameters):
            k = self._diffusivity.field(parameters)
            at_walls = walls(self.grid, self._wall_values, k)
            patterns = self._heaters.patterns(parameters)
            trajectory = _Trajectory(k, patterns, at_walls, self._schemes.build(k, at_walls))
            self._last = (copy.deepcopy(parameters), trajectory)
        return self._last[1]

    def _pieces(
        self, trajectory: _Trajectory, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray | None]]:
        """The pieces of a span of time (s) over which the source (K/s) is constant, and that source."""
        walls_supply = any(any(axis.boundary_values) for axis in self.spec.axes)
        for length, active in self._heaters.pieces(parameters, time, duration):
            source = sum((trajectory.patterns[number] for number in active), trajectory.walls.supply)
            yield length, source if active or walls_supply else None

    def _describe(self) -> Spec:
        grid = self.grid
        axes = tuple(
            Axis(name, "m", count, 0.0, length, kind, (0.0, 0.0) if kind == "periodic" else values)
            for name, count, length, kind, values in zip(
                AXIS_NAMES, grid.resolution, grid.extent, grid.boundary, self._wall_values, strict=False
            )
        )
        heat_unit = "K m" if len(axes) == 1 else f"K m^{len(axes)}"
        supply = sum(sum(axis.boundary_values) / (axis.upper - axis.lower) for axis in axes)
        is_closed = "dirichlet" not in grid.boundary and supply == 0 and not self._heaters.names
        return Spec(
            name="heat",
            equation="u_t = div(k grad u) + f",
            axes=axes,
            fields=(Field("temperature", "K", "temperature u", conserved=is_closed),),
            coefficients=(*self._diffusivity.fields, *self._heaters.fields),
            parameters=(
                *self._diffusivity.parameters,
                *self._heaters.parameters,
                *self._initial.parameters,
            ),
            invariants=(Quantity("total_heat", heat_unit, "integral of the temperature over the box"),),
            autonomous=not self._heaters.names,
            determined=self._initial.determined and not self._diffusivity.fields and not self._heaters.names,
            compatible=self._initial.meets_walls and profile_meets_walls(grid, self._wall_values),
            smooth=self._diffusivity.smooth,
        )


@dataclass(frozen=True)
class _Trajectory:
    """k (m^2/s), the heaters' patterns (K/s), the walls and the scheme of one trajectory."""

    diffusivity: np.ndarray
    patterns: list[np.ndarray]
    walls: Walls
    scheme: Scheme


def _equal(these: Parameters, those: Parameters) -> bool:
    return these.keys() == those.keys() and all(np.array_equal(these[name], those[name]) for name in these)
