"""Two-dimensional incompressible flow in a periodic box, in vorticity form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Len
from mpi4py import MPI

from simsurrogate import spec as description
from simsurrogate.spec import DIRECTIONS, Axis, Field, Spec
from solvers.contract import Parameters, Solver
from solvers.navier_stokes.etdrk4 import ETDRK4
from solvers.navier_stokes.forcing import FORCINGS, Steady
from solvers.navier_stokes.initial import INITIALS, TaylorGreen, UnitField
from solvers.navier_stokes.invariants import FLOW_INVARIANTS, TRACER_INVARIANTS
from solvers.navier_stokes.linear_terms import LinearTerms
from solvers.navier_stokes.options import (
    ForcingOptions,
    HyperviscosityOptions,
    InitialOptions,
    RangeFromZero,
    TracerOptions,
    check_ranges,
)
from solvers.navier_stokes.resolution import check_cells, check_viscosity
from solvers.navier_stokes.trajectory import FlowTrajectory
from solvers.navier_stokes.transform import StateTransform
from solvers.numerics.dealiased_fourier import FourierSlabs
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
        self._linear_terms = LinearTerms(viscosity, hyperviscosity, drag, tracer)
        self._transform = StateTransform(self._slabs, num_fields=2 if tracer.present else 1)
        self._stepper = ETDRK4(self._transform, time_step, tolerance)
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
        transform = self._transform
        initial_fields = [self._initial.field(parameters)]
        if self._tracer:
            initial_fields.append(self._tracer.field(parameters))
        steady = np.zeros(self._slabs.shape, complex)
        coefficient_fields = np.empty((0, *self.grid.block_shape))
        forcing = self._forcing.field(parameters)
        if forcing is not None:
            coefficient_fields = np.expand_dims(forcing, 0)
            steady = transform.coefficients(coefficient_fields)[0]
            # Coefficients that are round-off alone are set to 0, so that kernels skip their rows.
            steady[np.abs(steady) * transform.scale < 1e-13 * np.max(np.abs(forcing))] = 0.0
        return FlowTrajectory(
            transform=transform,
            stepper=self._stepper,
            rates=self._linear_terms.rates(self._slabs.even_squared, parameters),
            constant_intervals=partial(self._forcing.constant_intervals, steady, parameters),
            initial_state=transform.without_mean_vorticity(np.array(initial_fields)),
            coefficient_fields=coefficient_fields,
        )

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
                for _ in range(self._linear_terms.order):
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
        invariants = FLOW_INVARIANTS
        if self._tracer:
            equation += "; s_t + u . grad s = kappa Lap s"
            fields.append(Field("tracer", "1", "passive tracer s", conserved=True))
            invariants += TRACER_INVARIANTS
        return Spec(
            name="navier_stokes",
            equation=equation,
            sites=description.Grid(axes),
            fields=tuple(fields),
            coefficient_fields=self._forcing.fields,
            parameters=(*self._linear_terms.parameters, *self._forcing.parameters, *self._initial.parameters),
            invariants=invariants,
            autonomous=not isinstance(self._forcing, FORCINGS["ring"]),
            parametric=self._initial.parametric and self._forcing.parametric and self._tracer is None,
        )
