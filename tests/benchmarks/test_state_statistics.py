"""The statistics of predicted states, on states whose spectrum and variance are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.support.state_statistics import shell_energies, small_scale_ratio, variance_ratio
from simsurrogate.spec import Axis, Field, Grid, Spec

CELLS, LARGEST_SHELL = 24, 12


def spec() -> Spec:
    axes = tuple(Axis(name, "m", CELLS, 0.0, 1.0, "periodic") for name in "xy")
    return Spec(
        name="waves",
        equation="",
        sites=Grid(axes),
        fields=(Field("temperature", "K", "temperature"), Field("velocity", "m/s", "velocity", 1)),
        coefficient_fields=(),
        parameters=(),
        invariants=(),
        autonomous=True,
        parametric=False,
    )


def waves(amplitudes: dict[int, float], num_trajectories: int = 3) -> np.ndarray:
    """Return states whose channels are sums of sines along x, (B, C, X, Y)."""
    x = 2 * np.pi * (np.arange(CELLS) + 0.5) / CELLS
    line = sum(amplitude * np.sin(number * x) for number, amplitude in amplitudes.items())
    return np.broadcast_to(np.asarray(line)[:, None], (num_trajectories, 3, CELLS, CELLS)).copy()


@pytest.mark.parametrize("field", ["temperature", "velocity"])
def test_small_scales_are_the_upper_third_of_the_wave_numbers(field: str) -> None:
    truth = waves({2: 1.0, 8: 1.0, 9: 0.5, 11: 0.5})
    # The waves 9 to 12 count. Half of their amplitude is a quarter of their energy.
    predicted = waves({2: 3.0, 8: 7.0, 9: 0.25, 11: 0.25})
    energies, true_energies = (
        shell_energies(spec(), field, states, LARGEST_SHELL) for states in (predicted, truth)
    )
    # A sine of amplitude a has the mean square a² / 2; a vector field has two components.
    components = 2 if field == "velocity" else 1
    expected = np.zeros(LARGEST_SHELL)
    expected[[1, 7, 8, 10]] = components * np.array([1.0, 1.0, 0.25, 0.25]) / 2
    np.testing.assert_allclose(true_energies, expected, atol=1e-12)
    assert small_scale_ratio(energies, true_energies) == pytest.approx(0.25)


def test_only_the_named_field_counts() -> None:
    truth = waves({10: 1.0})
    predicted = truth.copy()
    predicted[:, 1:] *= 2
    for field, expected in (("temperature", 1), ("velocity", 4)):
        energies, true_energies = (
            shell_energies(spec(), field, states, LARGEST_SHELL) for states in (predicted, truth)
        )
        assert energies[9] / true_energies[9] == pytest.approx(expected)


def test_variance_is_that_over_the_trajectories() -> None:
    truth = waves({2: 1.0}) * np.array([1.0, 2.0, 3.0])[:, None, None, None]
    mean = truth.mean(axis=0)
    predicted = mean + (truth - mean) / 3
    assert variance_ratio(spec(), "temperature", predicted, truth) == pytest.approx(1 / 9)
