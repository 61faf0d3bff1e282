"""Horizons of rollouts, and Lyapunov exponents of systems whose exponents are known."""

import math

import numpy as np
import pytest

from pipeline.evaluation.metrics.horizon import crossing_times, lyapunov_exponent, position_errors
from solvers.contract import SteppedTrajectory


class Lorenz(SteppedTrajectory):
    """The system of Lorenz 1963, whose largest exponent is 0.9056 (Sprott 2003, table A.4)."""

    initial_state = np.array([1.0, 2.0, 20.0]).reshape(3, 1)

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        steps = max(round(duration / 0.02), 1)
        step = duration / steps
        x = tuple(state.ravel())
        for _ in range(steps):
            k1 = self.tendency(x)
            k2 = self.tendency(self.shifted(x, k1, step / 2))
            k3 = self.tendency(self.shifted(x, k2, step / 2))
            k4 = self.tendency(self.shifted(x, k3, step))
            slopes = (k1, k2, k3, k4)
            x = tuple(
                x[i] + step / 6 * sum(w * k[i] for w, k in zip((1, 2, 2, 1), slopes, strict=True))
                for i in range(3)
            )
        return np.array(x).reshape(3, 1)

    @staticmethod
    def tendency(state: tuple[float, ...]) -> tuple[float, ...]:
        x, y, z = state
        return 10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z

    @staticmethod
    def shifted(state: tuple[float, ...], slope: tuple[float, ...], step: float) -> tuple[float, ...]:
        return tuple(value + step * rate for value, rate in zip(state, slope, strict=True))


class Saddle(SteppedTrajectory):
    """x' = 0.7 x, y' = −0.3 y, at rest in its unstable equilibrium; the exponent is 0.7."""

    initial_state = np.zeros((2, 1))

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        return state * np.exp(np.array([[0.7], [-0.3]]) * duration)


def test_the_lyapunov_exponent_of_the_lorenz_system_is_found() -> None:
    exponent = lyapunov_exponent(
        Lorenz(), np.linspace(0, 120, 121), np.full(3, 8.0), np.random.default_rng(0)
    )
    assert exponent == pytest.approx(0.9056, rel=0.1)


def test_the_lyapunov_exponent_of_a_linear_system_is_its_largest_growth_rate() -> None:
    """Subtract the initial transient: the random direction turns into the growing one."""
    scale = np.ones(2)
    exponents = [
        lyapunov_exponent(Saddle(), np.arange(0, duration + 1.0), scale, np.random.default_rng(0))
        for duration in (20, 40)
    ]
    assert 40 * exponents[1] - 20 * exponents[0] == pytest.approx(0.7 * 20, rel=1e-6)


def test_the_crossing_of_a_level_is_interpolated() -> None:
    times = np.array([0.0, 1.0, 3.0])
    values = np.array([[0.2, 0.6], [0.1, 0.2], [np.nan, 0.0], [0.8, 0.0], [0.1, np.inf]])
    expected = [1 + 2 * (0.4 - 0.2) / 0.4, math.inf, 0.0, 0.5, 1.0]
    np.testing.assert_allclose(crossing_times(times, values, 0.4, start=0.0), expected)


def test_the_error_of_positions_is_relative_to_the_size_of_the_system() -> None:
    """Displace two bodies, whose distances from their centre have the mean squares 1 and 9."""
    truth = np.array([[[-1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [-3.0, 3.0]]])[None] + 5.0
    displacement = np.array([[0.3, 0.4], [0.0, 1.0]])[None, :, :, None]
    expected = np.array([[0.5, 1.0]]) * np.sqrt(2 / ((2 * 1 + 2 * 9) / 2))
    np.testing.assert_allclose(position_errors(truth + displacement, truth), expected, rtol=1e-12)
