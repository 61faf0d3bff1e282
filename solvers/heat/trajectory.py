"""The trajectory of the temperature for one set of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from solvers.contract import DivergedError, SteppedTrajectory
from solvers.heat.schemes.scheme import Scheme
from solvers.heat.source import Source
from solvers.heat.wall_flux import WallTerm, wall_fluxes
from solvers.numerics.grid import Grid


@dataclass(frozen=True)
class HeatTrajectory(SteppedTrajectory):
    """A trajectory of the temperature u (K), state (1, *block).

    Attributes:
        grid: the grid.
        scheme: the time-stepping scheme, with the diffusivity and the walls.
        source: the heat source of walls and heaters.
        initial_state: the temperature at time 0 s, K.
        coefficient_fields: k (m^2/s) if variable, and the patterns of the heaters (K/s), (K, *block).
        wall_flux_terms: the terms of the heat flux through walls, see `wall_flux`.
    """

    grid: Grid
    scheme: Scheme
    source: Source
    wall_flux_terms: Mapping[str, WallTerm | None]
    initial_state: np.ndarray
    coefficient_fields: np.ndarray

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        """Return the temperature after `duration`, see `SteppedTrajectory.advance`.

        A step ends at each time at which a heater is switched on or off.
        """
        temperature = state[0]
        for length, source in self.source.constant_intervals(time, duration):
            temperature = self.scheme.advance(temperature, source, length)
        num_not_finite = int(self.grid.sum_over_ranks(float(np.count_nonzero(~np.isfinite(temperature))))[0])
        if num_not_finite:
            raise DivergedError(
                f"the temperature of {num_not_finite} cells is not finite at time {time + duration:g} s"
            )
        return np.expand_dims(temperature, 0)

    def budget(self, state: np.ndarray, time: float, duration: float) -> dict[str, float]:
        """Return the heat (K m^d) that walls and heaters supply to the box during `advance`.

        The supply follows from the flux through the walls and the power of the heaters, in the scheme's own
        quadrature over time.
        """
        temperature, supplied_heat = state[0], 0.0
        for length, source in self.source.constant_intervals(time, duration):
            supplied_heat += self.scheme.heat_supplied(temperature, source, length)
            temperature = self.scheme.advance(temperature, source, length)
        return {"total_heat": supplied_heat}

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return the integral of the temperature over the box, K m^d; only `budget` changes the integral."""
        return {"total_heat": float(self.grid.sum_over_ranks(np.sum(state))[0]) * self.grid.cell_volume}

    def quantities(self, state: np.ndarray) -> dict[str, float]:
        """Return the heat fluxes out of the box through the walls of `solver.wall_fluxes`, K m^d/s."""
        return wall_fluxes(self.grid, self.wall_flux_terms, state[0])
