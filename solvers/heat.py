"""Heat conduction in a box of one, two or three dimensions."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Len
from mpi4py import MPI

from solvers.contract import Axis, DivergedError, Field, Parameters, Quantity, Solver, Spec
from solvers.grid import AXIS_NAMES, Grid
from solvers.heat_diffusivity import DIFFUSIVITIES
from solvers.heat_exact import ExactPropagator
from solvers.heat_explicit import ForwardEuler, SuperTimeStepping
from solvers.heat_initial import INITIALS
from solvers.heat_operator import DiffusionOperator, Walls, walls
from solvers.heat_options import (
    Boundary,
    BoundaryValues,
    DiffusivityOptions,
    HeaterOptions,
    InitialOptions,
)
from solvers.heat_scheme import Scheme
from solvers.heat_sources import Heaters
from solvers.sampling import draw
from solvers.spectral import SpectralTransform

Cells = Annotated[int, Ge(2)]


class Heat(Solver):
    """u_t = div(k(x) grad u) + f(x, t) for the temperature u (K), state (1, *cells).

    k (m^2/s) is the thermal conductivity over the volumetric heat capacity, f (K/s) the heating over it.
    Cell-centred finite volumes of second order (`heat_operator`). Schemes in time:

    exact: the exact propagator of the discrete operator, for constant k (`heat_exact`).
    rkl2:  super-time-stepping of second order with a controlled error, for any k (`heat_explicit`).
    euler: forward Euler, first order, stable up to 1 / (2 k sum of 1 / h^2); on request only.

    `automatic` takes exact where k is constant and rkl2 elsewhere. Every scheme is the same on any number
    of ranks.

    Args:
        extent: length of each axis, m; their number is the dimension.
        resolution: cells of each axis, or one number for all.
        boundary: kind of the ends of each axis.
        boundary_values: temperature (dirichlet, K) or heat flux into the box (neumann, K m/s) at them.
        diffusivity: how k is drawn.
        heaters: how f is drawn.
        initial: how u(x, 0) is drawn; along dirichlet axes the linear profile between the walls is added.
        scheme: see above.
        time_step: declared step of rkl2 or euler, s; None leaves it to the solver.
        tolerance: error that a step of rkl2 may make, over the standard deviation of u in the box.
        communicator: the ranks that share one trajectory.

    Raises:
        ValueError: options that do not work together, more ranks than rows, or a declared step of euler
            over the stability limit. That limit is known for k up to its range (lognormal: up to four
            standard deviations); a trajectory that exceeds it ends in a `DivergedError`.
    """

    def __init__(
        self,
        *,
        extent: Annotated[list[Annotated[float, Gt(0)]], Len(1, 3)],
        resolution: Cells | list[Cells],
        boundary: Boundary,
        boundary_values: BoundaryValues,
        diffusivity: DiffusivityOptions,
        heaters: HeaterOptions,
        initial: InitialOptions,
        scheme: Literal["automatic", "exact", "rkl2", "euler"],
        time_step: Annotated[float, Gt(0)] | None,
        tolerance: Annotated[float, Gt(0), Ge(1e-12)],
        communicator: MPI.Intracomm,
    ):
        num_axes = len(extent)
        counts = [resolution] * num_axes if isinstance(resolution, int) else list(resolution)
        if len(counts) != num_axes:
            raise ValueError(
                f"resolution={counts} has {len(counts)} numbers and extent={extent} has {num_axes}: give one "
                "for each axis, or a single number for all"
            )
        _check_ranges(diffusivity=diffusivity, heaters=heaters, initial=initial)
        names = AXIS_NAMES[:num_axes]
        kinds = tuple(getattr(boundary, name) for name in names)
        self.communicator = communicator
        self.grid = Grid(communicator, tuple(extent), tuple(counts), kinds)
        self.block = self.grid.block
        self._wall_values = tuple(getattr(boundary_values, name) for name in names)
        self._diffusivity = DIFFUSIVITIES[diffusivity.kind](self.grid, diffusivity)
        self._heaters = Heaters(self.grid, heaters)
        self._initial = INITIALS[initial.kind](self.grid, initial)
        self._time_step = time_step
        self._tolerance = tolerance
        self._is_constant = diffusivity.kind == "constant"
        self._scheme = scheme
        if scheme == "automatic":
            self._scheme = "exact" if self._is_constant else "rkl2"
        self._check_scheme()
        self._transform = SpectralTransform(self.grid) if self._scheme == "exact" else None
        self.method = _METHODS[self._scheme]
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
        fields = [*([] if self._is_constant else [trajectory.diffusivity]), *trajectory.patterns]
        return np.array(fields).reshape(-1, *self.grid.block_shape)

    def initial_state(self, parameters: Parameters) -> np.ndarray:
        """See `Solver.initial_state`."""
        state: np.ndarray = (self._initial.field(parameters) + self._wall_profile())[None]
        return state

    def advance(self, state: np.ndarray, parameters: Parameters, time: float, duration: float) -> np.ndarray:
        """See `Solver.advance`; a step ends where a heater switches."""
        trajectory = self._trajectory(parameters)
        temperature = state[0]
        for length, source in self._pieces(trajectory, parameters, time, duration):
            temperature = trajectory.scheme.advance(temperature, source, length)
        num_bad = self.grid.total(np.count_nonzero(~np.isfinite(temperature)))[0]
        if num_bad:
            raise DivergedError(
                f"the temperature of {num_bad:.0f} cells is not finite after {time + duration} s"
            )
        return temperature[None]

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
        """See `Solver.invariants`: the total heat, the integral of u over the box."""
        return {"total_heat": float(self.grid.total(np.sum(state))[0]) * self.grid.cell_volume}

    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """See `Solver.residual`: u_t - div(k grad u) - f, in K/s. With heaters, `fields["t"]` is the time."""
        temperature = fields["temperature"]
        k = parameters["diffusivity"] if self._is_constant else fields["diffusivity"]
        result = derivative(temperature, "t")
        for name in AXIS_NAMES[: len(self.grid.extent)]:
            result = result - derivative(k * derivative(temperature, name), name)
        for name in self._heaters.names:
            since = fields["t"] - parameters[f"{name}_start"]
            is_on = (since >= 0) * (since < parameters[f"{name}_duration"])
            result = result - is_on * fields[name]
        return {"heat": result}

    def _trajectory(self, parameters: Parameters) -> _Trajectory:
        """What stays the same along a trajectory; kept until other parameters come."""
        if self._last is None or not _equal(self._last[0], parameters):
            self._last = (copy.deepcopy(parameters), self._build(parameters))
        return self._last[1]

    def _build(self, parameters: Parameters) -> _Trajectory:
        k = self._diffusivity.field(parameters)
        at_walls = walls(self.grid, self._wall_values, k)
        scheme: Scheme
        if self._transform is not None:
            scheme = ExactPropagator(self.grid, self._transform, parameters["diffusivity"], at_walls)
        else:
            operator = DiffusionOperator(self.grid, k, at_walls.loss)
            if self._scheme == "euler":
                scheme = ForwardEuler(operator, at_walls, self._time_step)
            else:
                scheme = SuperTimeStepping(operator, at_walls, self._time_step, self._tolerance)
        return _Trajectory(k, self._heaters.patterns(parameters), at_walls, scheme)

    def _pieces(
        self, trajectory: _Trajectory, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray | None]]:
        """The pieces of a span of time over which the source (K/s) is constant, and the source."""
        walls_supply = any(
            kind != "periodic" and any(values)
            for kind, values in zip(self.grid.boundary, self._wall_values, strict=True)
        )
        for length, active in self._heaters.pieces(parameters, time, duration):
            if active or walls_supply:
                yield length, sum((trajectory.patterns[i] for i in active), trajectory.walls.supply)
            else:
                yield length, None

    def _wall_profile(self) -> np.ndarray:
        """The mean over the dirichlet axes of the linear profiles between their walls, K."""
        profiles = []
        for axis in self.grid.axes:
            if self.grid.boundary[axis] == "dirichlet":
                lower, upper = self._wall_values[axis]
                share = self.grid.coordinates(axis) / self.grid.extent[axis]
                others = [other for other in self.grid.axes if other != axis]
                profiles.append(np.expand_dims(lower + (upper - lower) * share, others))
        total = sum(profiles, np.zeros(self.grid.block_shape))
        return total / max(len(profiles), 1)

    def _check_scheme(self) -> None:
        if self._scheme == "exact" and not self._is_constant:
            raise ValueError("scheme=exact needs diffusivity.kind=constant; use automatic or rkl2")
        if self._scheme == "exact" and self._time_step is not None:
            raise ValueError(
                f"time_step={self._time_step} s has no use: the exact scheme has no error in time; set it to "
                "null, or choose scheme=rkl2"
            )
        if self._scheme == "euler" and self._time_step is not None:
            highest = self._diffusivity.bound()
            limit = 1 / (2 * highest * sum(1 / width**2 for width in self.grid.spacing))
            if self._time_step > limit:
                raise ValueError(
                    f"time_step={self._time_step} s exceeds the stable limit {limit:.3g} s of forward Euler, "
                    f"for spacing {_numbers(self.grid.spacing)} m and diffusivity up to {highest:.3g} m^2/s; "
                    "use a smaller step, null, or scheme=rkl2"
                )

    def _describe(self) -> Spec:
        grid = self.grid
        axes = tuple(
            Axis(name, "m", count, 0.0, length, kind, (0.0, 0.0) if kind == "periodic" else values)
            for name, count, length, kind, values in zip(
                AXIS_NAMES, grid.resolution, grid.extent, grid.boundary, self._wall_values, strict=False
            )
        )
        k = Field("diffusivity", "m^2/s", "thermal conductivity over volumetric heat capacity")
        return Spec(
            name="heat",
            equation="u_t = div(k grad u) + f",
            axes=axes,
            fields=(Field("temperature", "K", "temperature u"),),
            coefficients=(*(() if self._is_constant else (k,)), *self._heaters.fields),
            parameters=(
                *self._diffusivity.parameters,
                *self._heaters.parameters,
                *self._initial.parameters,
            ),
            invariants=(
                Quantity("total_heat", _heat_unit(len(axes)), "integral of the temperature over the box"),
            ),
            autonomous=not self._heaters.names,
        )


@dataclass(frozen=True)
class _Trajectory:
    """k (m^2/s), the heaters' patterns (K/s), the walls and the scheme of one trajectory."""

    diffusivity: np.ndarray
    patterns: list[np.ndarray]
    walls: Walls
    scheme: Scheme


_METHODS = {
    "exact": "finite volumes of order 2, exact propagator in time",
    "rkl2": "finite volumes of order 2, super-time-stepping RKL2 of order 2",
    "euler": "finite volumes of order 2, forward Euler",
}


def _equal(these: Parameters, those: Parameters) -> bool:
    return these.keys() == those.keys() and all(np.array_equal(these[name], those[name]) for name in these)


def _check_ranges(**groups: Any) -> None:
    for group, options in groups.items():
        for field in dataclasses.fields(options):
            value = getattr(options, field.name)
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(
                    f"{group}.{field.name}=[{_numbers(value)}] is no range: the lower end comes first"
                )


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _heat_unit(num_axes: int) -> str:
    return "K m" if num_axes == 1 else f"K m^{num_axes}"
