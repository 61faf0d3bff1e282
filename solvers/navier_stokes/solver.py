"""Two-dimensional incompressible flow in a periodic box, in vorticity form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Len
from mpi4py import MPI

from simsurrogate import spec as description
from simsurrogate.spec import DIRECTIONS, Axis, Field, Parameter, Quantity, Spec
from solvers.contract import Parameters, Solver, SteppedTrajectory
from solvers.navier_stokes import kernels
from solvers.navier_stokes.etdrk4 import ETDRK4
from solvers.navier_stokes.forcing import FORCINGS, Steady
from solvers.navier_stokes.initial import INITIALS, TaylorGreen, UnitField
from solvers.navier_stokes.options import (
    ForcingOptions,
    HyperviscosityOptions,
    InitialOptions,
    RangeFromZero,
    TracerOptions,
    check_ranges,
)
from solvers.navier_stokes.resolution import check_cells, check_viscosity
from solvers.numerics.dealiased_fourier import FourierSlabs, PlaneTransform
from solvers.numerics.grid import Grid
from solvers.numerics.parameter_sampling import draw

_Positive = Annotated[float, Gt(0)]


class NavierStokes(Solver):
    """w_t + u . grad w = nu Lap w - nu_h (-Lap)^p w - mu w + f for the vorticity w (1/s), div u = 0.

    The velocity u (m/s), of mean zero, is derived from w = v_x - u_y. A passive tracer s on request:
    s_t + u . grad s = kappa Lap s. State (channels, *cells): vorticity, velocity_x, velocity_y and the
    tracer; `advance` reads the vorticity and the tracer alone.

    Pseudo-spectral with the 2/3 rule in space (`fourier`), ETDRK4 in time (`navier_stokes_etdrk4`).

    Args:
        extent: length of each axis, m.
        resolution: cells of each axis, or one number for both; even, at least 8.
        viscosity: range of nu, m^2/s; [0, 0] for none.
        hyperviscosity: p and the range of nu_h.
        drag: range of mu, 1/s; [0, 0] for none.
        forcing: how f is drawn.
        initial: how w(x, 0) is drawn.
        tracer: whether there is a tracer, and how it is drawn.
        time_step: declared step, s; None leaves it to the solver.
        tolerance: error that a step may make in a field, over the field's root mean square.
        communicator: the ranks that share one trajectory.

    Raises:
        UserError: a range in the wrong order, an odd or tiny grid, more ranks than rows, a viscosity that
            the grid cannot resolve, or initial states or a forcing finer than the grid.
    """

    def __init__(
        self,
        *,
        extent: Annotated[list[_Positive], Len(2, 2)],
        resolution: int | Annotated[list[int], Len(2, 2)],
        viscosity: RangeFromZero,
        hyperviscosity: HyperviscosityOptions,
        drag: RangeFromZero,
        forcing: ForcingOptions,
        initial: InitialOptions,
        tracer: TracerOptions,
        time_step: _Positive | None,
        tolerance: _Positive,
        communicator: MPI.Intracomm,
    ):
        check_ranges(
            viscosity=viscosity, hyperviscosity=hyperviscosity, drag=drag,
            forcing=forcing, initial=initial, tracer=tracer,
        )  # fmt: skip
        counts = [resolution] * 2 if isinstance(resolution, int) else resolution
        check_cells(counts)
        self.communicator = communicator
        self.grid = Grid(communicator, tuple(extent), tuple(counts), ("periodic", "periodic"))
        self.block = self.grid.block
        self._slabs = FourierSlabs(self.grid)
        self._forcing = FORCINGS[forcing.kind](self._slabs, forcing)
        self._initial = INITIALS[initial.kind](self.grid, initial)
        self._tracer = (
            UnitField(self.grid, "tracer", tracer.modes, tracer.correlation_length, tracer.spectral_exponent)
            if tracer.present
            else None
        )
        strain = max(self._initial.largest, self._forcing.strain)
        check_viscosity(
            self.grid,
            strain=strain,
            viscosity=viscosity[0],
            hyperviscosity=hyperviscosity.range[0],
            order=hyperviscosity.order,
            cause=f"initial.kind={initial.kind}"
            if strain == self._initial.largest
            else f"forcing.kind={forcing.kind}",
        )
        self._order = hyperviscosity.order
        self._coefficients = _coefficients(viscosity, hyperviscosity, drag, tracer)
        num_fields = 2 if self._tracer else 1
        self._stepper = ETDRK4(self._slabs, num_fields, time_step, tolerance)
        self._plane = PlaneTransform(self._slabs, 1)
        self.method = "pseudo-spectral with the 2/3 rule, exponential Runge-Kutta ETDRK4 of order 4"
        self.spec = self._describe()

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """See `Solver.sample`."""
        drawn: Parameters = {**draw(self.spec.parameters, rng, outside)}
        for part in (self._forcing, self._initial, self._tracer):
            if part:
                drawn.update(part.draw_arrays(rng))
        return drawn

    def prepare(self, parameters: Parameters) -> FlowTrajectory:
        """Return the trajectory of these parameters, see `Solver.prepare`."""
        squared = self._slabs.even_squared
        rates = [
            -parameters.get("viscosity", 0.0) * squared
            - parameters.get("hyperviscosity", 0.0) * squared**self._order
            - parameters.get("drag", 0.0)
        ]
        if self._tracer:
            rates.append(-parameters.get("tracer_diffusivity", 0.0) * squared)
        forcing = self._forcing.field(parameters)
        steady = np.zeros(self._slabs.shape, complex)
        if forcing is not None:
            steady = self._read(forcing[None])[0]
            # What round-off left is no forcing: its rows are skipped.
            steady[np.abs(steady) * self._stepper.scale < 1e-13 * np.max(np.abs(forcing))] = 0.0
        none = np.empty((0, *self.grid.block_shape))
        return FlowTrajectory(
            flow=self,
            parameters=parameters,
            rates=np.array(rates),
            forcing=steady,
            coefficient_fields=none if forcing is None else np.expand_dims(forcing, 0),
        )

    def _initial_state(self, parameters: Parameters) -> np.ndarray:
        fields = [self._initial.field(parameters)]
        if self._tracer:
            fields.append(self._tracer.field(parameters))
        modes = self._read(np.array(fields))
        modes[0, self._slabs.squared == 0] = 0.0
        return self._written(modes)

    def _invariants(self, state: np.ndarray) -> dict[str, float]:
        modes = self._read(state[[0, *range(3, len(state))]])
        squared = self._slabs.squared
        power = self._slabs.multiplicity * np.abs(modes * self._stepper.scale) ** 2
        inverse = np.divide(1, squared, out=np.zeros_like(squared), where=squared > 0)
        sums = [np.sum(power[0] * weight) / 2 for weight in (inverse, (squared > 0), squared)]
        names = ["energy", "enstrophy", "palinstrophy"]
        if self._tracer:
            names += ["tracer_variance", "tracer_mean"]
            mean = np.sum(modes[1, squared == 0].real) * self._stepper.scale
            sums += [np.sum(power[1, squared > 0]), mean]
        return dict(zip(names, map(float, self.grid.total(*sums)), strict=True))

    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """See `Solver.residual`: `divergence` and `curl` in 1/s, `vorticity` in s^-2, `tracer` in 1/s.

        A ring of random waves is no arithmetic of the fields: with it there is no `vorticity` among them.
        """
        u, v, vorticity = fields["velocity_x"], fields["velocity_y"], fields["vorticity"]

        def laplacian(values: Any) -> Any:
            return derivative(derivative(values, "x"), "x") + derivative(derivative(values, "y"), "y")

        def advected(values: Any) -> Any:
            return derivative(values, "t") + u * derivative(values, "x") + v * derivative(values, "y")

        found = {
            "divergence": derivative(u, "x") + derivative(v, "y"),
            "curl": vorticity - derivative(v, "x") + derivative(u, "y"),
        }
        if self.spec.autonomous:
            left = advected(vorticity)
            if "viscosity" in parameters:
                left = left - parameters["viscosity"] * laplacian(vorticity)
            if "hyperviscosity" in parameters:
                power = vorticity
                for _ in range(self._order):
                    power = -laplacian(power)
                left = left + parameters["hyperviscosity"] * power
            if "drag" in parameters:
                left = left + parameters["drag"] * vorticity
            found["vorticity"] = left - fields["forcing"] if self.spec.coefficient_fields else left
        if self._tracer:
            left = advected(fields["tracer"])
            if "tracer_diffusivity" in parameters:
                left = left - parameters["tracer_diffusivity"] * laplacian(fields["tracer"])
            found["tracer"] = left
        return found

    def initial_condition(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """See `Solver.initial_condition`."""
        if not self.spec.parametric or not isinstance(self._initial, TaylorGreen):
            return super().initial_condition(coordinates, parameters, xp)
        found = self._initial.at(coordinates, parameters, xp)
        if isinstance(self._forcing, Steady):
            wave = self._forcing.wave(coordinates, xp)
            found["forcing"] = parameters["forcing_amplitude"] * wave
        return found

    def _read(self, fields: np.ndarray) -> np.ndarray:
        """The compact coefficients of one or two real fields (fields, *block), transformed as one."""
        plane = self._plane
        plane.physical[0].real, plane.physical[0].imag = fields[0], fields[1] if len(fields) > 1 else 0.0
        plane.forward()
        plus, minus = self._slabs.compact(plane.coefficients[0])
        parts = [(plus + minus.conj()) / 2, (plus - minus.conj()) / 2j]
        return np.array(parts[: len(fields)])

    def _written(self, modes: np.ndarray) -> np.ndarray:
        """The state with these compact coefficients."""
        plane, scale = self._plane, self._stepper.scale
        state = np.empty((len(modes) + 2, *self.grid.block_shape))
        kernels.emit(plane.coefficients, modes[:1], self._stepper.waves, scale)
        plane.inverse()
        state[1], state[2] = plane.physical[0].real, plane.physical[0].imag
        tracer = 1j * modes[-1] if self._tracer else 0.0
        self._slabs.expand(
            scale * np.array([modes[0] + tracer, (modes[0] - tracer).conj()]), plane.coefficients[0]
        )
        plane.inverse()
        state[0] = plane.physical[0].real
        if self._tracer:
            state[3] = plane.physical[0].imag
        return state

    def _describe(self) -> Spec:
        axes = tuple(
            Axis(name, "m", count, 0.0, length, "periodic")
            for name, count, length in zip(DIRECTIONS, self.grid.resolution, self.grid.extent, strict=False)
        )
        equation = "w_t + u . grad w = nu Lap w - nu_h (-Lap)^p w - mu w + f, w = v_x - u_y, div u = 0"
        fields = [
            Field("vorticity", "s^-1", "vorticity w", conserved=True),
            Field("velocity", "m/s", "velocity (u, v)", 1, conserved=True, divergence_free=True),
        ]
        invariants = [
            Quantity("energy", "m^2/s^2", "mean of u^2 / 2"),
            Quantity("enstrophy", "s^-2", "mean of w^2 / 2"),
            Quantity("palinstrophy", "m^-2 s^-2", "mean of (grad w)^2 / 2"),
        ]
        if self._tracer:
            equation += "; s_t + u . grad s = kappa Lap s"
            fields.append(Field("tracer", "1", "passive tracer s", conserved=True))
            invariants += [
                Quantity("tracer_variance", "1", "mean of (s - its mean)^2"),
                Quantity("tracer_mean", "1", "mean of s"),
            ]
        return Spec(
            name="navier_stokes",
            equation=equation,
            sites=description.Grid(axes),
            fields=tuple(fields),
            coefficient_fields=self._forcing.fields,
            parameters=(*self._coefficients, *self._forcing.parameters, *self._initial.parameters),
            invariants=tuple(invariants),
            autonomous=not isinstance(self._forcing, FORCINGS["ring"]),
            parametric=self._initial.parametric and self._forcing.parametric and self._tracer is None,
        )


@dataclass(frozen=True)
class FlowTrajectory(SteppedTrajectory):
    """The flow under one set of parameters.

    `rates` are the linear rates L (1/s) of each field, `forcing` the coefficients of the steady forcing.
    """

    flow: NavierStokes
    parameters: Parameters
    rates: np.ndarray
    forcing: np.ndarray
    coefficient_fields: np.ndarray
    counts: dict[str, int] = field(default_factory=lambda: {"steps": 0, "rejected_steps": 0})

    @cached_property
    def initial_state(self) -> np.ndarray:  # type: ignore[override]
        """The state at time 0; waves that the grid does not keep are left out."""
        return self.flow._initial_state(self.parameters)

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        """Advance the flow; a step ends where the forcing is drawn anew. See `SteppedTrajectory.advance`."""
        flow = self.flow
        modes = flow._read(state[[0, *range(3, len(state))]])
        flow._stepper.set_rates(self.rates)
        for length, forcing in flow._forcing.constant_intervals(
            self.forcing, self.parameters, time, duration
        ):
            modes = flow._stepper.advance(modes, forcing, length, self.counts)
        return flow._written(modes)

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return means over the box. Without forcing, drag and hyperviscosity energy E, enstrophy Z,
        palinstrophy P obey dE/dt = -2 nu Z and dZ/dt = -2 nu P.
        """
        return self.flow._invariants(state)


def _coefficients(
    viscosity: tuple[float, float],
    hyperviscosity: HyperviscosityOptions,
    drag: tuple[float, float],
    tracer: TracerOptions,
) -> tuple[Parameter, ...]:
    """The coefficients of the linear terms that are not 0."""
    candidates = (
        Parameter("viscosity", "m^2/s", "kinematic viscosity nu", *viscosity),
        Parameter(
            "hyperviscosity",
            f"m^{2 * hyperviscosity.order}/s",
            f"hyperviscosity nu_h of order {hyperviscosity.order}",
            *hyperviscosity.range,
        ),
        Parameter("drag", "s^-1", "linear drag mu", *drag),
        Parameter("tracer_diffusivity", "m^2/s", "diffusivity kappa of the tracer", *tracer.diffusivity),
    )
    return tuple(
        one for one in candidates if one.high > 0 and (tracer.present or one.name != "tracer_diffusivity")
    )
