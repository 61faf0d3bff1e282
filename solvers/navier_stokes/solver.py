"""The solver of two-dimensional incompressible flow in a periodic box, in vorticity form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Annotated, Any

import numpy as np
from annotated_types import Le, Len
from mpi4py import MPI

from simsurrogate import spec as description
from simsurrogate.spec import DIRECTIONS, Axis, Field, Spec
from solvers.contract import DiscretisationError, Parameters, Setting, Solver
from solvers.navier_stokes.discretisation_error import estimate_error
from solvers.navier_stokes.etdrk4 import ETDRK4
from solvers.navier_stokes.forcing import ForcingOptions, RingForcing, SteadyForcing, build_forcing
from solvers.navier_stokes.initial import InitialOptions, build_initial
from solvers.navier_stokes.invariants import FLOW_INVARIANTS, TRACER_INVARIANTS
from solvers.navier_stokes.linear_terms import HyperviscosityOptions, LinearTerms
from solvers.navier_stokes.options import Positive, RangeFromZero
from solvers.navier_stokes.residual import flow_residuals
from solvers.navier_stokes.resolution import check_cells, check_tracer_diffusivity, check_viscosity
from solvers.navier_stokes.settings import cheaper_settings, reference_setting
from solvers.navier_stokes.symmetries import flow_symmetries
from solvers.navier_stokes.tracer import TracerOptions, initial_tracer
from solvers.navier_stokes.trajectory import FlowTrajectory
from solvers.navier_stokes.transform import StateTransform
from solvers.numerics.dealiased_fourier import FourierSlabs
from solvers.numerics.grid import MAX_CELLS_OF_AXIS, Grid
from solvers.numerics.parameter_sampling import check_ranges, draw
from solvers.numerics.step_count import check_steps

_NumCells = Annotated[int, Le(MAX_CELLS_OF_AXIS)]


class NavierStokes(Solver):
    """The vorticity equation w_t + u . grad w = nu Lap w - nu_h (-Lap)^p w - mu w + f with div u = 0.

    The vorticity is w = v_x - u_y (1/s). The velocity u (m/s) has zero mean and follows from w. An optional
    passive tracer s satisfies s_t + u . grad s = kappa Lap s. A state (channels, *cells) holds vorticity,
    velocity_x, velocity_y and the tracer. `advance` reads only the vorticity and the tracer.

    The discretisation is pseudo-spectral with the 2/3 rule in space (`dealiased_fourier`), and ETDRK4 in time
    (exponential time differencing, `etdrk4`). The time scale is the turn-over time: the inverse of the
    largest expected strain rate from the initial state and the forcing.

    Args:
        extent: the length of each axis, m.
        resolution: the number of cells along each axis, or one number for both axes; even, at least 8.
        viscosity: the range of nu, m^2/s; [0, 0] for zero viscosity.
        hyperviscosity: the order p and the range of nu_h.
        drag: the range of mu, 1/s; [0, 0] for zero drag.
        forcing: the distribution of f.
        initial: the distribution of w(x, 0).
        tracer: the presence of a tracer, and its distribution.
        time_step: the declared step, s; None for adaptive steps.
        communicator: the ranks that share one trajectory.
        tolerance: the allowed error of an adaptive step, relative to the root mean square of each field; no
            effect with a declared step.

    Raises:
        UserError: a range is in the wrong order, the number of cells is odd or too small, or there are more
            ranks than rows. The solver also refuses a grid that does not resolve the viscosity, the
            diffusivity of the tracer, the initial states or the forcing.
    """

    method = "pseudo-spectral with the 2/3 rule, exponential Runge-Kutta ETDRK4 of order 4"
    order_in_time = 4.0
    order_in_space = math.inf
    _checks_grid = True

    def __init__(
        self,
        *,
        extent: Annotated[list[Positive], Len(2, 2)],
        resolution: _NumCells | Annotated[list[_NumCells], Len(2, 2)],
        viscosity: RangeFromZero,
        hyperviscosity: HyperviscosityOptions,
        drag: RangeFromZero,
        forcing: ForcingOptions,
        initial: InitialOptions,
        tracer: TracerOptions,
        time_step: Positive | None,
        communicator: MPI.Intracomm,
        tolerance: Positive = 1e-6,
    ):
        self._build = partial(
            type(self),
            extent=extent,
            viscosity=viscosity,
            hyperviscosity=hyperviscosity,
            drag=drag,
            forcing=forcing,
            initial=initial,
            tracer=tracer,
            communicator=communicator,
        )
        self._step_options: dict[str, Any] = {"time_step": time_step, "tolerance": tolerance}
        check_ranges(
            viscosity=viscosity,
            hyperviscosity=hyperviscosity,
            drag=drag,
            forcing=forcing,
            initial=initial,
            tracer=tracer,
        )
        cells = [resolution] * 2 if isinstance(resolution, int) else resolution
        check_cells(cells)
        self.communicator = communicator
        self.grid = Grid(
            communicator, tuple(extent), tuple(cells), ("periodic", "periodic"), self._checks_grid
        )
        self.block = self.grid.block
        self._slabs = FourierSlabs(self.grid)
        self._forcing = build_forcing(forcing, self._slabs)
        self._initial = build_initial(initial, self.grid)
        self._tracer = initial_tracer(self.grid, tracer)
        strain_rate = max(self._initial.strain_rate, self._forcing.strain_rate)
        cause = (
            f"solver.initial.kind={initial.kind}"
            if strain_rate == self._initial.strain_rate
            else f"solver.forcing.kind={forcing.kind}"
        )
        check_viscosity(
            self.grid,
            strain_rate=strain_rate,
            viscosity=viscosity[0],
            hyperviscosity=hyperviscosity.range[0],
            order=hyperviscosity.order,
            cause=cause,
        )
        if tracer.present:
            check_tracer_diffusivity(
                self.grid, strain_rate=strain_rate, diffusivity=tracer.diffusivity[0], cause=cause
            )
        self.time_scale = 1 / strain_rate
        self._linear_terms = LinearTerms(viscosity, hyperviscosity, drag, tracer)
        if isinstance(self._forcing, RingForcing):
            share = self._forcing.injected_share(self._linear_terms.largest_damping_rate)
            self.method += f"; the ring forcing injects at least about {100 * share:.0f} % of injection_rate"
        self.spec = self._describe()

    # The arrays of the whole grid are allocated by the first trajectory, after the memory is checked.
    @cached_property
    def _transform(self) -> StateTransform:
        return StateTransform(self._slabs, num_fields=2 if self._tracer else 1)

    @cached_property
    def _stepper(self) -> ETDRK4:
        return ETDRK4(self._transform, **self._step_options)

    @classmethod
    def unused_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the options of tracer, hyperviscosity and time step without effect, see `Solver`."""
        if not options["tracer"]["present"]:
            yield from (
                (f"tracer.{name}", "solver.tracer.present=false")
                for name in options["tracer"]
                if name != "present"
            )
        if options["hyperviscosity"]["range"][1] == 0:
            yield "hyperviscosity.order", "solver.hyperviscosity.range=[0, 0]"
        if options["time_step"] is not None:
            yield "tolerance", f"solver.time_step={options['time_step']}"

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """Draw the scalars, then the arrays of forcing, vorticity and tracer, see `Solver.sample`."""
        parameters: Parameters = {**draw(self.spec.parameters, rng, outside)}
        for distribution in (self._forcing, self._initial, self._tracer):
            if distribution:
                parameters.update(distribution.draw_arrays(rng))
        return parameters

    def prepare(self, parameters: Parameters) -> FlowTrajectory:
        """Return the trajectory with these parameters, see `Solver.prepare`."""
        transform = self._transform
        initial_fields = [self._initial.field(parameters)]
        if self._tracer:
            initial_fields.append(self._tracer.field(parameters))
        steady_coefficients = np.zeros(self._slabs.shape, complex)
        coefficient_fields = np.empty((0, *self.grid.block_shape))
        forcing = self._forcing.field(parameters)
        if forcing is not None:
            coefficient_fields = np.expand_dims(forcing, 0)
            steady_coefficients = transform.coefficients(coefficient_fields)[0]
            # Coefficients at round-off level are set to 0, because kernels skip rows of zeros.
            steady_coefficients[
                np.abs(steady_coefficients) * transform.scale < 1e-13 * np.max(np.abs(forcing))
            ] = 0.0
        return FlowTrajectory(
            transform=transform,
            stepper=self._stepper,
            rates=self._linear_terms.rates(self._slabs.even_squared_wave_numbers, parameters),
            constant_intervals=partial(self._forcing.constant_intervals, steady_coefficients, parameters),
            initial_state=transform.without_mean_vorticity(np.array(initial_fields)),
            coefficient_fields=coefficient_fields,
        )

    def cautions(self, duration: float) -> Iterator[str]:
        """Yield the truncated spectra of vorticity and tracer, see `Solver.cautions`."""
        check_steps("solver.time_step", self._step_options["time_step"], duration)
        if isinstance(self._forcing, RingForcing):
            check_steps("solver.forcing.renewal", self._forcing.options.renewal, duration)
        yield from self._initial.cautions()
        if self._tracer:
            yield from self._tracer.cautions()

    def discretisation_error(self, parameters: Parameters, times: np.ndarray) -> DiscretisationError:
        """Return the estimated error at the last time, see `Solver.discretisation_error`."""
        accurate_options = {"time_step": None, "tolerance": min(self._step_options["tolerance"] / 10, 1e-6)}

        def build(cells: list[int], is_accurate: bool) -> NavierStokes:
            options = accurate_options if is_accurate else self._step_options
            return self._build(resolution=cells, **options)

        return estimate_error(build, self.grid.resolution, parameters, times)

    def cheaper_settings(self) -> Iterator[Setting]:
        """Yield coarser grids and looser tolerances, see `Solver.cheaper_settings`."""
        return cheaper_settings(self._build_on_one_rank, self.grid.resolution, self._step_options)

    def reference_setting(self) -> Setting:
        """Return the grid of half the cell width with short steps, see `Solver.reference_setting`."""
        tolerance = self._step_options["tolerance"]
        return reference_setting(self._build_on_one_rank, self.grid.resolution, tolerance)

    def _build_on_one_rank(self, **options: Any) -> NavierStokes:
        """Return the solver on a grid that need not resolve the flow."""
        return _UncheckedNavierStokes(**self._build.keywords | {"communicator": MPI.COMM_SELF} | options)

    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the residuals of the equations, see `Solver.residual` and `flow_residuals`."""
        order = self._linear_terms.order
        return flow_residuals(fields, derivative, parameters, order, self._forcing.autonomous)

    def initial_condition(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """Return vorticity, velocity and forcing at any points, see `Solver.initial_condition`."""
        if not self.spec.parametric:
            return super().initial_condition(coordinates, parameters, xp)
        channels = self._initial.values_at(coordinates, parameters, xp)
        if isinstance(self._forcing, SteadyForcing):
            channels["forcing"] = parameters["forcing_amplitude"] * self._forcing.wave(coordinates, xp)
        return channels

    def _describe(self) -> Spec:
        """Return the description of the problem."""
        axes = tuple(
            Axis(name, "m", count, 0.0, length, "periodic")
            for name, count, length in zip(DIRECTIONS, self.grid.resolution, self.grid.extent, strict=False)
        )
        equation = "w_t + u . grad w = nu Lap w - nu_h (-Lap)^p w - mu w + f, w = v_x - u_y, div u = 0"
        fields = [
            Field("vorticity", "s^-1", "vorticity w", conserved=True, pseudo=True),
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
            autonomous=self._forcing.autonomous,
            parametric=self._initial.parametric and self._forcing.parametric and self._tracer is None,
            deterministic=self._forcing.deterministic,
            symmetries=flow_symmetries(self.grid, self._forcing, self._initial, self._tracer),
        )


class _UncheckedNavierStokes(NavierStokes):
    """The solver on grids that need not resolve the flow."""

    _checks_grid = False
