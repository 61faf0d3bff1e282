"""The solver of heat conduction in a box of one, two or three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le, Len
from mpi4py import MPI

from simsurrogate import spec as description
from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS, Axis, Field, Quantity, Spec
from solvers.contract import DiscretisationError, Parameters, Setting, Solver
from solvers.heat.blocks import BlockOptions, Blocks
from solvers.heat.choose_diffusivity import DiffusivityOptions, build_diffusivity
from solvers.heat.discretisation_error import estimate_error
from solvers.heat.heaters import HeaterOptions, Heaters
from solvers.heat.initial import Harmonics, Zero, build_initial
from solvers.heat.operator import wall_terms
from solvers.heat.options import (
    BoundaryOptions,
    BoundaryValuesOptions,
    InitialOptions,
    Positive,
    unused_options,
)
from solvers.heat.schemes.choose import SchemeFactory, SchemeName
from solvers.heat.settings import cheaper_settings, reference_setting
from solvers.heat.source import Source
from solvers.heat.symmetries import heat_symmetries
from solvers.heat.trajectory import HeatTrajectory
from solvers.heat.wall_flux import Wall, wall_flux_quantities, wall_flux_terms
from solvers.heat.wall_profile import profile_meets_walls, wall_mismatch, wall_profile
from solvers.numerics.grid import MAX_CELLS_OF_AXIS, Grid
from solvers.numerics.parameter_sampling import check_ranges, draw
from solvers.numerics.step_count import check_steps

_NumCells = Annotated[int, Ge(2), Le(MAX_CELLS_OF_AXIS)]


class Heat(Solver):
    """The heat equation u_t = div(k(x) grad u) + f(x, t) for the temperature u (K), state (1, *cells).

    k (m^2/s) is the thermal conductivity divided by the volumetric heat capacity. f (K/s) is the heating
    power density divided by the volumetric heat capacity. Cell-centred finite volumes of second order
    discretise space (`heat.operator`). One of these schemes discretises time:

    exact: the exact propagator of the discrete operator, for constant k (`schemes.exact`).
    adi:   alternating directions of second order with error control, for any k on one rank (`schemes.adi`).
    rkl2:  super-time-stepping of second order with error control, for any k (`schemes.explicit`).
    euler: forward Euler of first order, stable up to 1 / (2 k sum of 1 / h^2), for comparisons.

    The scheme `automatic` is exact for constant k. For smooth k on one rank without a declared step,
    `automatic` is adi. In all other cases `automatic` is rkl2. Results of one scheme agree to round-off for
    any number of ranks. Choose rkl2 if runs with one rank and with several ranks must agree.

    Args:
        extent: length of each axis, m; the number of lengths is the dimension.
        resolution: number of cells along each axis, or one number for all axes.
        boundary: boundary condition of each axis.
        boundary_values: temperature (dirichlet, K) or heat flux into the box (neumann, K m/s) at the walls.
        diffusivity: distribution of k.
        heaters: distribution of f, without the blocks.
        blocks: heaters of constant power at fixed places.
        wall_fluxes: the dirichlet walls whose heat flux is a quantity of interest, such as `z_lower`.
        initial: distribution of u(x, 0), without the linear profile between dirichlet walls.
        scheme: time-stepping scheme, see above.
        time_step: step of adi, rkl2 or euler, s; None for a step from the error control or stability limit.
        tolerance: allowed error of a step of adi or rkl2, relative to the standard deviation of u in the box;
            no effect with a declared step.
        communicator: the ranks that share one trajectory.

    Raises:
        UserError: options contradict each other, there are more ranks than rows, or the grid does not resolve
            the drawn fields (`numerics.resolution`). The scheme adi refuses several ranks, and a declared
            step in three dimensions. The scheme euler refuses a declared step above the stability limit.
    """

    order_in_space = 2
    _checks_grid = True

    def __init__(
        self,
        *,
        extent: Annotated[list[Positive], Len(1, 3)],
        resolution: _NumCells | list[_NumCells],
        boundary: BoundaryOptions,
        boundary_values: BoundaryValuesOptions,
        diffusivity: DiffusivityOptions,
        heaters: HeaterOptions,
        initial: InitialOptions,
        scheme: SchemeName,
        time_step: Positive | None,
        tolerance: Positive = 1e-5,
        blocks: Sequence[BlockOptions] = (),
        wall_fluxes: Sequence[Wall] = (),
        communicator: MPI.Intracomm,
    ):
        self._build = partial(
            type(self),
            extent=extent,
            boundary=boundary,
            boundary_values=boundary_values,
            diffusivity=diffusivity,
            heaters=heaters,
            initial=initial,
            blocks=blocks,
            wall_fluxes=wall_fluxes,
        )
        self._scheme_options: dict[str, Any] = dict(scheme=scheme, time_step=time_step, tolerance=tolerance)
        num_axes = len(extent)
        num_cells = [resolution] * num_axes if isinstance(resolution, int) else resolution
        if len(num_cells) != num_axes:
            raise UserError(
                f"solver.resolution={num_cells} has {len(num_cells)} numbers, but solver.extent={extent} has "
                f"{num_axes}. One number for each axis, or one number for all axes, is allowed. Type "
                f"solver.resolution={num_cells[0]}"
            )
        check_ranges(diffusivity=diffusivity, heaters=heaters, initial=initial)
        axis_names = DIRECTIONS[:num_axes]
        conditions = tuple(getattr(boundary, name) for name in axis_names)
        self.communicator = communicator
        self.grid = Grid(communicator, tuple(extent), tuple(num_cells), conditions, self._checks_grid)
        self.block = self.grid.block
        self._wall_values = tuple(
            (0.0, 0.0) if condition == "periodic" else getattr(boundary_values, name)
            for name, condition in zip(axis_names, conditions, strict=True)
        )
        self._wall_fluxes = wall_fluxes
        self._diffusivity = build_diffusivity(self.grid, diffusivity)
        self._heaters = Heaters(self.grid, heaters)
        self._blocks = Blocks(self.grid, blocks)
        self._initial = build_initial(self.grid, initial)
        self._schemes = SchemeFactory(self.grid, self._diffusivity, scheme, time_step, tolerance)
        self.method = self._schemes.method
        self.order_in_time = self._schemes.order_in_time
        # The time in which the longest wave of the box decays by the factor e.
        self.time_scale = (self.grid.longest_wave / (2 * math.pi)) ** 2 / self._diffusivity.geometric_mean
        self.spec = self._describe()

    @classmethod
    def unused_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the options without effect, see `Solver.unused_options`."""
        yield from unused_options(options)

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """Draw the parameters of one trajectory, see `Solver.sample`."""
        parameters: Parameters = {**draw(self.spec.parameters, rng, outside)}
        for distribution in (self._diffusivity, self._heaters, self._initial):
            parameters.update(distribution.draw_arrays(rng))
        return parameters

    def prepare(self, parameters: Parameters) -> HeatTrajectory:
        """Return the trajectory with these parameters, see `Solver.prepare`."""
        grid = self.grid
        k = self._diffusivity.field(parameters)
        walls = wall_terms(grid, self._wall_values, k)
        patterns = self._heaters.patterns(parameters)
        source = Source(
            constant=walls.supply + self._blocks.source(parameters),
            has_constant=bool(self._blocks.parameters) or any(map(any, self._wall_values)),
            patterns=patterns,
            active_intervals=self._heaters.active_intervals(parameters),
        )
        temperature = self._initial.field(parameters) + wall_profile(grid, self._wall_values, grid.mesh)
        fields = [k, *patterns] if self._diffusivity.fields else patterns
        return HeatTrajectory(
            grid=grid,
            scheme=self._schemes.build(k, walls),
            source=source,
            initial_state=np.expand_dims(temperature, 0),
            coefficient_fields=np.array(fields).reshape(-1, *grid.block_shape),
            wall_flux_terms=wall_flux_terms(grid, self._wall_fluxes, self._wall_values, k),
        )

    def cautions(self, duration: float) -> Iterator[str]:
        """Yield the wall temperatures and spectra that do not fit, see `Solver.cautions`."""
        self._heaters.check_duration(duration)
        check_steps("solver.time_step", self._scheme_options["time_step"], duration)
        difference = wall_mismatch(self.grid, self._wall_values)
        if difference > 0:
            yield (
                f"dirichlet walls with different temperatures meet, so initial states differ by up to "
                f"{difference:g} K from the temperature of a wall"
            )
        for part in (self._diffusivity, self._initial):
            yield from part.cautions()

    def discretisation_error(self, parameters: Parameters, times: np.ndarray) -> DiscretisationError | None:
        """Return the estimated error at the last time, see `Solver.discretisation_error`.

        Each rank computes the same estimate, because its grids are small and may have fewer rows than ranks.
        """
        own_options = self._scheme_options | {"scheme": self._schemes.name}
        tolerance = min(self._scheme_options["tolerance"] / 10, 1e-5)
        accurate_options = {"scheme": "automatic", "time_step": None, "tolerance": tolerance}

        def build(cells: list[int], is_accurate: bool) -> Heat:
            options = accurate_options if is_accurate else own_options
            return self._build(resolution=cells, communicator=MPI.COMM_SELF, **options)

        return estimate_error(build, self.grid.resolution, parameters, times)

    def cheaper_settings(self) -> Iterator[Setting]:
        """Yield coarser grids and looser tolerances, see `Solver.cheaper_settings`."""
        build = partial(_UncheckedHeat, **self._build.keywords, communicator=MPI.COMM_SELF)
        return cheaper_settings(build, self.grid, self._wall_values, self._schemes.name, self._scheme_options)

    def reference_setting(self) -> Setting:
        """Return the grid of a third of the cell width with short steps, see `Solver.reference_setting`."""
        build = partial(_UncheckedHeat, **self._build.keywords, communicator=MPI.COMM_SELF)
        return reference_setting(build, self.grid, self._wall_values, self._scheme_options["tolerance"])

    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the residual u_t - div(k grad u) - f in K/s, see `Solver.residual`.

        Layers and blocks are discontinuous at points of a continuous equation, so they have no residual.
        """
        if self._blocks.parameters or not (self._diffusivity.fields or self._diffusivity.is_constant):
            return {}
        temperature = fields["temperature"]
        k = fields["diffusivity"] if self._diffusivity.fields else parameters["diffusivity"]
        residual = derivative(temperature, "t")
        for axis in self.spec.axes:
            residual = residual - derivative(k * derivative(temperature, axis.name), axis.name)
        for name in self._heaters.names:
            elapsed = fields["t"] - parameters[f"{name}_start"]
            is_on = (elapsed >= 0) * (elapsed < parameters[f"{name}_duration"])
            residual = residual - is_on * fields[name]
        return {"heat": residual}

    def initial_condition(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """Return the temperature at time 0 s at any points, see `Solver.initial_condition`."""
        if not self.spec.parametric or not isinstance(self._initial, (Harmonics, Zero)):
            return super().initial_condition(coordinates, parameters, xp)
        profile = wall_profile(self.grid, self._wall_values, coordinates)
        return {"temperature": self._initial.values_at(coordinates, parameters, xp) + profile}

    def _describe(self) -> Spec:
        grid = self.grid
        axes = tuple(
            Axis(name, "m", num_cells, 0.0, length, condition, values)
            for name, num_cells, length, condition, values in zip(
                DIRECTIONS, grid.resolution, grid.extent, grid.boundary, self._wall_values, strict=False
            )
        )
        heat_unit = "K m" if len(axes) == 1 else f"K m^{len(axes)}"
        wall_supply = sum(sum(axis.boundary_values) / (axis.upper - axis.lower) for axis in axes)
        has_heaters = bool(self._heaters.names or self._blocks.parameters)
        is_closed = "dirichlet" not in grid.boundary and wall_supply == 0 and not has_heaters
        return Spec(
            name="heat",
            equation="u_t = div(k grad u) + f",
            sites=description.Grid(axes),
            fields=(Field("temperature", "K", "temperature u", conserved=is_closed),),
            coefficient_fields=(*self._diffusivity.fields, *self._heaters.fields),
            parameters=(
                *self._diffusivity.parameters,
                *self._heaters.parameters,
                *self._blocks.parameters,
                *self._initial.parameters,
            ),
            invariants=(Quantity("total_heat", heat_unit, "integral of the temperature over the box"),),
            quantities=wall_flux_quantities(grid, self._wall_fluxes),
            autonomous=not self._heaters.names,
            parametric=self._initial.parametric and not self._diffusivity.fields and not self._heaters.names,
            compatible_initial_state=self._initial.meets_walls
            and profile_meets_walls(grid, self._wall_values),
            smooth_coefficients=self._diffusivity.smooth and not self._blocks.parameters,
            linear_in=(
                *(f"{name}_rate" for name in self._heaters.names),
                *(parameter.name for parameter in (*self._blocks.parameters, *self._initial.parameters)),
            ),
            symmetries=heat_symmetries(
                grid,
                self._wall_values,
                (self._diffusivity, self._heaters, self._blocks, self._initial),
                self._schemes,
            ),
        )


class _UncheckedHeat(Heat):
    """The solver on grids that need not resolve the drawn fields."""

    _checks_grid = False
