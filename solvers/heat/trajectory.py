"""The temperature under one set of parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solvers.contract import DivergedError, SteppedTrajectory
from solvers.heat.schemes.scheme import Scheme
from solvers.heat.source import Source
from solvers.numerics.grid import Grid


@dataclass(frozen=True)
class HeatTrajectory(SteppedTrajectory):
    """A trajectory of the temperature u (K), state (1, *block).

    Attributes:
        grid: the grid.
        scheme: the time-stepping scheme, with the diffusivity and the walls.
        source: walls and heaters.
        initial_state: the temperature at time 0, K.
        coefficient_fields: a variable k (m^2/s) and the patterns of the heaters (K/s), (K, *block).
    """

    grid: Grid
    scheme: Scheme
    source: Source
    initial_state: np.ndarray
    coefficient_fields: np.ndarray

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        """Advance the temperature, see `SteppedTrajectory.advance`. A step ends where a heater switches."""
        temperature = state[0]
        for length, source in self.source.constant_intervals(time, duration):
            temperature = self.scheme.advance(temperature, source, length)
        num_bad = int(self.grid.total(float(np.count_nonzero(~np.isfinite(temperature))))[0])
        if num_bad:
            raise DivergedError(f"{num_bad} cells are not finite at time {time + duration:g} s")
        return np.expand_dims(temperature, 0)

    def budget(self, state: np.ndarray, time: float, duration: float) -> dict[str, float]:
        """Return the heat (K m^d) that walls and heaters supply to the box during `advance`.

        The supply follows from the flux through the walls and the power of the heaters, in the scheme's own
        quadrature over time.
        """
        temperature, supplied = state[0], 0.0
        for length, source in self.source.constant_intervals(time, duration):
            supplied += self.scheme.heat_supplied(temperature, source, length)
            temperature = self.scheme.advance(temperature, source, length)
        return {"total_heat": supplied}

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return the integral of the temperature over the box (K m^d), which changes only by `budget`."""
        return {"total_heat": float(self.grid.total(np.sum(state))[0]) * self.grid.cell_volume}
