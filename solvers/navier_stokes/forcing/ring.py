"""Forcing of the vorticity by random waves on a ring of wave numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.optimize

from simsurrogate.errors import UserError
from simsurrogate.spec import Parameter
from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters
from solvers.navier_stokes.forcing.forcing import Forcing
from solvers.navier_stokes.options import Positive, Range
from solvers.navier_stokes.resolution import cells_for_wave_number
from solvers.numerics.dealiased_fourier import FourierSlabs

#: The smallest allowed ratio of the injected energy to `injection_rate`.
LEAST_INJECTED_SHARE = 0.9


@dataclass(frozen=True)
class RingOptions:
    """Random waves with wave numbers in the range `ring` (rad/m), drawn again after each `renewal` (s).

    The mean rate at which the waves inject energy is drawn from the range `injection_rate` (m^2/s^3).
    """

    kind: Literal["ring"]
    injection_rate: Range
    ring: Range
    renewal: Positive


class RingForcing(Forcing):
    """Random waves on a ring of wave numbers, constant in each renewal interval.

    A counter-based generator draws the waves of interval k from (key, k) alone. The forcing at any time
    therefore does not depend on earlier times. All waves have the same mean square velocity. The sum F of the
    waves has <F^2> = 2 e / T for the injection rate e and the renewal time T. Independent forces of duration
    T inject the mean power <F^2> T / 2 = e (m^2/s^3) if the flow changes little in T (Alvelius 1999,
    doi:10.1063/1.870050, for white noise). A wave that decays or is strained at the rate r takes up only the
    share 2 (x - 1 + exp(-x)) / x^2 of this power, x = r T.

    Raises:
        UserError: the ring holds no wave of the box, or a wave that the grid does not keep.
    """

    parametric = False
    autonomous = False
    deterministic = False

    def __init__(self, slabs: FourierSlabs, options: RingOptions):
        self.slabs = slabs
        self.options = options
        self.parameters = (
            Parameter("injection_rate", "m^2/s^3", "mean energy injected a second", *options.injection_rate),
        )
        grid = slabs.grid
        low, high = options.ring
        if high > min(slabs.largest_wave_numbers):
            sufficient_cells = [
                max(cells_for_wave_number(math.ceil(high * length / (2 * np.pi))), count)
                for length, count in zip(grid.extent, grid.resolution, strict=True)
            ]
            raise UserError(
                f"solver.forcing.ring=[{low:g}, {high:g}] rad/m exceeds the largest wave number "
                f"{min(slabs.largest_wave_numbers):.4g} rad/m of solver.resolution={list(grid.resolution)}. "
                "The grid must keep all waves of the forcing. Type "
                f"solver.resolution=[{sufficient_cells[0]},{sufficient_cells[1]}] or finer, or a smaller ring"
            )
        largest_waves = [int(high * length / (2 * np.pi)) for length in grid.extent]
        x, y = np.meshgrid(
            np.arange(-largest_waves[0], largest_waves[0] + 1), np.arange(largest_waves[1] + 1), indexing="ij"
        )
        self._squared = (2 * np.pi * x / grid.extent[0]) ** 2 + (2 * np.pi * y / grid.extent[1]) ** 2
        # Each wave counts once: the wave (-x, 0) equals the wave (x, 0) and is omitted.
        is_in_ring = (low**2 <= self._squared) & (self._squared <= high**2) & ((y > 0) | (x > 0))
        self._x, self._y, self._squared = x[is_in_ring], y[is_in_ring], self._squared[is_in_ring]
        if not len(self._x):
            units = ", ".join(f"{2 * np.pi / length:.4g}" for length in grid.extent)
            raise UserError(
                f"solver.forcing.ring=[{low:g}, {high:g}] rad/m holds no wave of "
                f"solver.extent={list(grid.extent)}. The wave numbers along the axes are multiples of "
                f"{units} rad/m. Type solver.forcing.ring=[LOW,HIGH] with a wider range"
            )
        self.strain_rate = float((options.injection_rate[1] * np.max(self._squared)) ** (1 / 3))

    def injected_share(self, damping_rate: Callable[[float], float]) -> float:
        """Return the injected power divided by `injection_rate`, for the wave that loses most.

        `damping_rate` returns the largest damping rate (1/s) of a squared wave number (rad^2/m^2).

        Raises:
            UserError: the share is below `LEAST_INJECTED_SHARE`; the message names a sufficient renewal.
        """
        rate = damping_rate(float(np.max(self._squared))) + self.strain_rate
        renewal = self.options.renewal
        share = _share(rate * renewal)
        if share < LEAST_INJECTED_SHARE:
            longest = scipy.optimize.brentq(lambda x: _share(x) - LEAST_INJECTED_SHARE, 1e-3, 1.0) / rate
            raise UserError(
                f"solver.forcing.renewal={renewal:g} s injects about {100 * share:.0f} % of "
                f"solver.forcing.injection_rate, because viscosity, drag and strain change the flow at about "
                f"{rate:.3g} 1/s. At least {100 * LEAST_INJECTED_SHARE:.0f} % must be injected. Type "
                f"solver.forcing.renewal={0.99 * longest:.2g} or less"
            )
        return share

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the key of the forcing of a trajectory: two integers below 2^32."""
        return {"forcing_key": rng.integers(2**32, size=2).astype(np.float64)}

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return False: the key of the waves has no map, see `Forcing.is_invariant`."""
        return False

    def constant_intervals(
        self, steady_coefficients: np.ndarray, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Yield the renewal intervals, see `Forcing.constant_intervals`."""
        renewal, end = self.options.renewal, time + duration
        # The tolerance allows for round-off in the start of a frame at a renewal.
        interval = int(np.floor(time / renewal + 1e-9))
        while time < end - 1e-9 * renewal:
            stop = min((interval + 1) * renewal, end)
            yield stop - time, self._coefficients(parameters, interval)
            time, interval = stop, interval + 1

    def _coefficients(self, parameters: Parameters, interval: int) -> np.ndarray:
        """Return the coefficients of f in one renewal interval."""
        low, high = (int(key_half) for key_half in parameters["forcing_key"])
        rng = np.random.Generator(np.random.Philox(key=[low + (high << 32), interval]))
        normals = rng.standard_normal((2, len(self._x)))
        # The velocity of a vorticity wave Re(c exp(i k x)) has the mean square |c|^2 / (2 k^2).
        wave_power = 4 * parameters["injection_rate"] / (self.options.renewal * len(self._x))
        return self._local_coefficients(
            np.sqrt(wave_power * self._squared / 2) * (normals[0] + 1j * normals[1])
        )

    def _local_coefficients(self, waves: np.ndarray) -> np.ndarray:
        """Return this rank's coefficients of the waves.

        A coefficient is half of the amplitude of a wave; for y = 0 the conjugate coefficient is set, too.
        """
        grid, slabs = self.slabs.grid, self.slabs
        # The phases of the waves at the centre of the first cell.
        phase = np.pi * (self._x / grid.resolution[0] + self._y / grid.resolution[1])
        values = np.prod(grid.resolution) / 2 * waves * np.exp(1j * phase)
        coefficients = np.zeros(slabs.shape, complex)
        is_local = (slabs.columns.start <= self._y) & (self._y < slabs.columns.stop)
        columns = self._y[is_local] - slabs.columns.start
        coefficients[self._x[is_local], columns] = values[is_local]
        is_on_axis = is_local & (self._y == 0)
        coefficients[-self._x[is_on_axis], 0] = values[is_on_axis].conj()
        return coefficients


def _share(x: float) -> float:
    """Return the injected share for the product x of the rate of change and the renewal time."""
    return 2 * (x + math.expm1(-x)) / x**2
