"""Random waves on a ring of wave numbers that force the vorticity."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import Parameter
from solvers.contract import Parameters
from solvers.navier_stokes.forcing.forcing import Forcing
from solvers.navier_stokes.options import Positive, Range
from solvers.navier_stokes.resolution import cells_that_keep
from solvers.numerics.dealiased_fourier import FourierSlabs


@dataclass(frozen=True)
class RingOptions:
    """Random waves with wave numbers in `ring` (rad/m), drawn again every `renewal` (s).

    The mean rate at which the waves inject energy is drawn from the range `injection_rate` (m^2/s^3).
    """

    kind: Literal["ring"]
    injection_rate: Range
    ring: Range
    renewal: Positive


class RingForcing(Forcing):
    """Random waves on a ring of wave numbers, constant over a renewal interval and then drawn again.

    A counter-based generator draws interval k of a trajectory from (key, k) alone, so that f at any time
    depends on no earlier time. Each wave has the same mean square of velocity, and their sum F has
    <F^2> = 2 e / T: independent forces that last T inject <F^2> T / 2 = e (m^2/s^3) in the mean, provided
    that the flow changes little in T (Alvelius 1999, doi:10.1063/1.870050, for white noise).

    Raises:
        UserError: the ring holds no wave of the box, or a wave that the grid does not keep.
    """

    parametric = False
    autonomous = False

    def __init__(self, slabs: FourierSlabs, options: RingOptions):
        self.slabs = slabs
        self.options = options
        self.parameters = (
            Parameter("injection_rate", "m^2/s^3", "mean energy injected a second", *options.injection_rate),
        )
        grid = slabs.grid
        low, high = options.ring
        largest = [int(high * length / (2 * np.pi)) for length in grid.extent]
        x, y = np.meshgrid(np.arange(-largest[0], largest[0] + 1), np.arange(largest[1] + 1), indexing="ij")
        self._squared = (2 * np.pi * x / grid.extent[0]) ** 2 + (2 * np.pi * y / grid.extent[1]) ** 2
        # Each wave counts once: of (x, 0) and (-x, 0) only the wave with x > 0 is kept.
        chosen = (low**2 <= self._squared) & (self._squared <= high**2) & ((y > 0) | (x > 0))
        self._x, self._y, self._squared = x[chosen], y[chosen], self._squared[chosen]
        if not len(self._x):
            longest = ", ".join(f"{2 * np.pi / length:.4g}" for length in grid.extent)
            raise UserError(
                f"solver.forcing.ring=[{low:g}, {high:g}] rad/m holds no wave of extent={list(grid.extent)}. "
                f"The wave numbers along the axes are multiples of {longest} rad/m. Use a wider ring"
            )
        if high > min(slabs.largest):
            enough = [
                max(cells_that_keep(math.ceil(high * length / (2 * np.pi))), count)
                for length, count in zip(grid.extent, grid.resolution, strict=True)
            ]
            raise UserError(
                f"solver.forcing.ring reaches {high:g} rad/m, beyond the {min(slabs.largest):.4g} rad/m that "
                f"resolution={list(grid.resolution)} keeps. A forcing needs all of its waves. Use "
                f"solver.resolution=[{enough[0]},{enough[1]}] or finer, or a smaller ring"
            )
        self.strain_rate = float((options.injection_rate[1] * np.max(self._squared)) ** (1 / 3))

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Return the key of the trajectory's forcing: two integers below 2^32."""
        return {"forcing_key": rng.integers(2**32, size=2).astype(np.float64)}

    def constant_intervals(
        self, steady: np.ndarray, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Yield the renewal intervals, see `Forcing.constant_intervals`."""
        renewal, end = self.options.renewal, time + duration
        # The start of a frame that is meant to fall on a renewal may miss it by round-off.
        interval = int(np.floor(time / renewal + 1e-9))
        while time < end - 1e-9 * renewal:
            stop = min((interval + 1) * renewal, end)
            yield stop - time, self._coefficients(parameters, interval)
            time, interval = stop, interval + 1

    def _coefficients(self, parameters: Parameters, interval: int) -> np.ndarray:
        """Return the coefficients of f in one renewal interval."""
        low, high = (int(word) for word in parameters["forcing_key"])
        rng = np.random.Generator(np.random.Philox(key=[low + (high << 32), interval]))
        draws = rng.standard_normal((2, len(self._x)))
        # A wave Re(c exp(i k x)) of the vorticity has a velocity of mean square |c|^2 / 2 k^2.
        power = 4 * parameters["injection_rate"] / (self.options.renewal * len(self._x))
        return self._local_coefficients(np.sqrt(power * self._squared / 2) * (draws[0] + 1j * draws[1]))

    def _local_coefficients(self, waves: np.ndarray) -> np.ndarray:
        """Return this rank's coefficients of the waves: half of each wave, and its conjugate where y = 0."""
        grid, slabs = self.slabs.grid, self.slabs
        # The phase of each wave at the centre of the first cell.
        phase = np.pi * (self._x / grid.resolution[0] + self._y / grid.resolution[1])
        values = np.prod(grid.resolution) / 2 * waves * np.exp(1j * phase)
        coefficients = np.zeros(slabs.shape, complex)
        local = (slabs.columns.start <= self._y) & (self._y < slabs.columns.stop)
        columns = self._y[local] - slabs.columns.start
        coefficients[self._x[local], columns] = values[local]
        on_axis = local & (self._y == 0)
        coefficients[-self._x[on_axis], 0] = values[on_axis].conj()
        return coefficients
