"""Heaters with switching times, compared with the exact solution of each mode."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.heat_cases import (
    heat,
    prepare_trajectory,
    relative_error,
    sample_parameters,
    tight_tolerance,
)

HEATERS = {
    "heater_1_rate": 5.0,
    "heater_1_start": 0.013,
    "heater_1_duration": 0.04,
    "heater_2_rate": 8.0,
    "heater_2_start": 0.031,
    "heater_2_duration": 0.5,
}


def exact_temperature(
    start_state: np.ndarray, patterns: np.ndarray, k: float, width: float, time: float
) -> np.ndarray:
    """Return the temperature on a periodic line from decaying Fourier modes with heating intervals."""
    mode = np.arange(start_state.size // 2 + 1)
    rate = k * 4 / width**2 * np.sin(np.pi * mode / start_state.size) ** 2
    modes = np.fft.rfft(start_state) * np.exp(-rate * time)
    for heater, pattern in enumerate(patterns, start=1):
        start_time = HEATERS[f"heater_{heater}_start"]
        end_time = min(start_time + HEATERS[f"heater_{heater}_duration"], time)
        with np.errstate(invalid="ignore"):
            growth = (np.exp(-rate * (time - end_time)) - np.exp(-rate * (time - start_time))) / rate
        growth[0] = end_time - start_time
        modes += np.fft.rfft(pattern) * growth
    return np.fft.irfft(modes, start_state.size)


@pytest.mark.parametrize(("scheme", "tolerance"), [("exact", 1e-13), ("adi", 2e-6), ("rkl2", 2e-6)])
@pytest.mark.parametrize("num_frames", [1, 7])
def test_every_mode_follows_the_switching(scheme: str, tolerance: float, num_frames: int) -> None:
    solver = heat(
        extent=[2.0],
        resolution=32,
        boundary={"x": "periodic"},
        diffusivity={"kind": "constant"},
        heaters={"count": 2},
        scheme=scheme,
        **tight_tolerance(scheme),
    )
    k = sample_parameters(solver)["diffusivity"]
    trajectory = prepare_trajectory(solver, **HEATERS)
    state = trajectory.initial_state
    for frame in range(num_frames):
        state = trajectory.advance(state, frame * 0.1 / num_frames, 0.1 / num_frames)
    patterns = trajectory.coefficient_fields
    expected = exact_temperature(trajectory.initial_state[0], patterns, k, 2.0 / 32, 0.1)
    assert relative_error(state[0], expected) < tolerance


def test_heaters_are_coefficient_fields_of_an_equation_that_depends_on_time() -> None:
    solver = heat(heaters={"count": 2})
    assert solver.spec.coefficient_channels == ("diffusivity", "heater_1", "heater_2")
    assert not solver.spec.autonomous
    assert heat().spec.autonomous
    parameters = sample_parameters(solver)
    patterns = solver.prepare(parameters).coefficient_fields[1:]
    for index, pattern in enumerate(patterns, start=1):
        rate = parameters[f"heater_{index}_rate"]
        assert 0.9 * rate < pattern.max() <= rate


def test_a_heater_at_a_periodic_end_warms_both_sides_equally() -> None:
    solver = heat(extent=[1.0], resolution=40, heaters={"count": 1})
    trajectory = prepare_trajectory(solver, heater_centres=np.array([[0.0]]))
    pattern = trajectory.coefficient_fields[1]
    assert np.allclose(pattern, pattern[::-1], rtol=1e-12)
    assert pattern.argmax() in {0, 39}
