"""The exact propagator of the discrete operator for a constant diffusivity."""

from __future__ import annotations

import numpy as np

from solvers.heat.operator import WallTerms
from solvers.heat.schemes.scheme import Scheme
from solvers.numerics.laplacian_transforms import SpectralTransform


class ExactPropagator(Scheme):
    """The scheme u(t + tau) = exp(tau A) u(t) + tau phi_1(tau A) s, applied to each mode.

    The function phi_1 is (e^z - 1) / z. The step is exact in time to round-off for any tau (Hochbruck &
    Ostermann 2010, Exponential integrators, doi:10.1017/S0962492910000048, equation 2.10 for the phi
    functions).
    """

    def __init__(self, transform: SpectralTransform, diffusivity: float, walls: WallTerms):
        self.grid = transform.grid
        self.transform = transform
        self.walls = walls
        self._rates = -diffusivity * transform.eigenvalues()
        self._cached_factors: tuple[float, np.ndarray, np.ndarray] | None = None

    def advance(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> np.ndarray:
        """Return the temperature (K) after `duration`, see `Scheme.advance`."""
        decay, source_response = self._factors(duration)
        modes = decay * self.transform.forward(temperature)
        if source is not None:
            modes += source_response * self.transform.forward(source)
        return self.transform.inverse(modes)

    def heat_supplied(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> float:
        """Return the supplied heat (K m^d), see `Scheme.heat_supplied`.

        The integral of u over the step is tau phi_1 u + tau^2 phi_2 s.
        """
        _, source_response = self._factors(duration)
        integral = source_response * self.transform.forward(temperature)
        supply = 0.0
        if source is not None:
            integral += duration**2 * _phi_2(duration * self._rates) * self.transform.forward(source)
            supply = float(np.sum(source)) * duration
        loss = float(np.sum(self.walls.loss * self.transform.inverse(integral)))
        return float(self.grid.sum_over_ranks(supply - loss)[0]) * self.grid.cell_volume

    def _factors(self, duration: float) -> tuple[np.ndarray, np.ndarray]:
        """Return exp(tau A) and tau phi_1(tau A), cached for the last duration."""
        if self._cached_factors is None or self._cached_factors[0] != duration:
            exponent = duration * self._rates
            source_response = duration * _phi_1(exponent)
            self._cached_factors = (duration, np.exp(exponent), source_response)
        return self._cached_factors[1], self._cached_factors[2]


def _phi_1(z: np.ndarray) -> np.ndarray:
    """Return (e^z - 1) / z, and 1 at 0."""
    values: np.ndarray = np.divide(np.expm1(z), z, out=np.ones_like(z), where=z != 0)
    return values


def _phi_2(z: np.ndarray) -> np.ndarray:
    """Return (e^z - 1 - z) / z^2, by a series near 0 to avoid cancellation."""
    series = np.ones_like(z)
    for order in range(12, 2, -1):
        series = 1 + series * z / order
    direct_values = np.divide(np.expm1(z) - z, z**2, out=np.ones_like(z), where=z != 0)
    return np.where(np.abs(z) < 0.1, series / 2, direct_values)
