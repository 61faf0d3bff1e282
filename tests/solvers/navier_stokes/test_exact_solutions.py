"""Navier-Stokes against exact solutions: flows without advection, and a tracer in a steady shear."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from solvers.contract import Parameters
from tests.support.heat_cases import error
from tests.support.navier_stokes_cases import (
    TRACER,
    UNFORCED,
    flow,
    mesh,
    prepare_trajectory,
    sample_parameters,
    with_vorticity,
)

LINEAR: dict[str, Any] = {
    "viscosity": [1e-3, 2e-3],
    "hyperviscosity": {"order": 3, "range": [1e-9, 2e-9]},
    "drag": [0.1, 0.2],
}


def decay_rate(parameters: Parameters, squared: float) -> float:
    """Return the rate (1/s) at which a wave of this squared wave number decays under `LINEAR`."""
    rate: float = (
        parameters["viscosity"] * squared + parameters["hyperviscosity"] * squared**3 + parameters["drag"]
    )
    return rate


@pytest.mark.parametrize("time_step", [None, 0.05])
@pytest.mark.parametrize(("extent", "resolution"), [([1.0, 1.0], 64), ([1.0, 0.7], [24, 40])])
def test_taylor_green_vortices_decay_and_keep_their_form(
    extent: list[float], resolution: Any, time_step: float | None
) -> None:
    solver = flow(
        extent=extent, resolution=resolution, initial={"kind": "taylor_green", "waves": 2},
        time_step=time_step, **UNFORCED, **LINEAR,
    )  # fmt: skip
    parameters = sample_parameters(solver)
    trajectory = solver.prepare(parameters)
    x, y = mesh(solver)
    (k, m), (a, b) = (4 * np.pi / length for length in extent), parameters["initial_phases"]
    amplitude, squared = parameters["amplitude"], k**2 + m**2
    # w = -Lap psi, u = psi_y, v = -psi_x.
    vorticity = amplitude * np.sin(k * x + a) * np.sin(m * y + b)
    velocity = np.array(
        [
            amplitude * m / squared * np.sin(k * x + a) * np.cos(m * y + b),
            -amplitude * k / squared * np.cos(k * x + a) * np.sin(m * y + b),
        ]
    )
    exact = np.array([vorticity, *velocity])
    assert error(trajectory.initial_state, exact) < 1e-13
    end = trajectory.advance(trajectory.initial_state, 0.0, 1.0)
    decay = np.exp(-decay_rate(parameters, squared))
    assert decay < 0.85
    assert error(end, decay * exact) < 1e-10
    enstrophy = amplitude**2 / 8 * decay**2
    assert trajectory.invariants(end) == pytest.approx(
        {"energy": enstrophy / squared, "enstrophy": enstrophy, "palinstrophy": enstrophy * squared},
        rel=1e-10,
    )


def test_kolmogorov_flow_grows_from_rest_to_its_laminar_profile() -> None:
    forcing = {"kind": "kolmogorov", "amplitude": [0.2, 0.4], "wave_number": 3}
    solver = flow(extent=[1.0, 0.8], resolution=[16, 32], forcing=forcing, **LINEAR)
    parameters = sample_parameters(solver)
    trajectory = solver.prepare(parameters)
    _, y = mesh(solver)
    wave_number = 2 * np.pi * 3 / 0.8
    force = parameters["forcing_amplitude"] * np.sin(wave_number * y)
    assert trajectory.coefficient_fields is not None
    assert np.allclose(trajectory.coefficient_fields[0], force, rtol=1e-14, atol=1e-16)
    rate = decay_rate(parameters, wave_number**2)
    state = with_vorticity(np.zeros_like(y))
    for time in (0.0, 1.5):
        state = trajectory.advance(state, time, 1.5)
        assert error(state[0], force / rate * -np.expm1(-rate * (time + 1.5))) < 1e-10


def test_the_diagonal_forcing_follows_its_formula() -> None:
    solver = flow(resolution=32)
    x, y = mesh(solver)
    expected = 0.1 * (np.sin(2 * np.pi * (x + y)) + np.cos(2 * np.pi * (x + y)))
    forcing = solver.prepare(sample_parameters(solver)).coefficient_fields[0]
    assert np.allclose(forcing, expected, rtol=1e-13, atol=1e-15)


def test_a_tracer_in_a_fluid_at_rest_diffuses() -> None:
    solver = flow(**UNFORCED, tracer={"present": True, "diffusivity": [2e-3, 4e-3]}, resolution=[48, 64])
    parameters = sample_parameters(solver)
    trajectory = solver.prepare(parameters)
    tracer = trajectory.initial_state[3] + 0.7
    state = trajectory.advance(with_vorticity(np.zeros_like(tracer), tracer), 0.0, 0.5)
    wave_numbers = [2 * np.pi * np.fft.fftfreq(count, 1 / count) for count in tracer.shape]
    squared = np.add.outer(*(k**2 for k in wave_numbers))
    decay = np.exp(-parameters["tracer_diffusivity"] * squared * 0.5)
    assert error(state[3], np.fft.ifft2(decay * np.fft.fft2(tracer)).real) < 1e-12
    invariants = trajectory.invariants(state)
    assert invariants["tracer_mean"] == pytest.approx(0.7, rel=1e-12)
    assert invariants["tracer_variance"] == pytest.approx(np.var(state[3]), rel=1e-12)


def test_the_mean_of_the_tracer_has_an_exact_budget_of_zero() -> None:
    trajectory = prepare_trajectory(**TRACER, forcing={"amplitude": [5.0, 5.0]}, resolution=128)
    state = trajectory.initial_state + 0.7
    end = trajectory.advance(state, 0.0, 0.5)
    budget = trajectory.budget(state, 0.0, 0.5)
    assert budget == {"tracer_mean": 0.0}
    before, after = trajectory.invariants(state), trajectory.invariants(end)
    assert after["tracer_variance"] < 0.99 * before["tracer_variance"]
    assert after["tracer_mean"] == pytest.approx(before["tracer_mean"], rel=1e-14)
    assert prepare_trajectory().budget(state[:3], 0.0, 0.5) == {}


def test_a_steady_shear_carries_a_tracer_along() -> None:
    # An inviscid parallel flow u(y) is steady and carries s(x, y) to s(x - u t, y).
    # Both signs of x and of y matter.
    solver = flow(extent=[1.0, 0.8], resolution=[48, 96], tolerance=1e-10, **UNFORCED, **TRACER)
    trajectory = solver.prepare(sample_parameters(solver) | {"viscosity": 0.0, "tracer_diffusivity": 0.0})
    x, y = mesh(solver)
    wave_number = 2 * np.pi / 0.8

    def tracer(x: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * x + 1) + np.cos(4 * np.pi * x - 2 * wave_number * y)

    speed = 0.5 * np.sin(wave_number * y + 0.4)
    shear = -0.5 * wave_number * np.cos(wave_number * y + 0.4)
    end = trajectory.advance(with_vorticity(shear, tracer(x)), 0.0, 0.5)
    assert error(end[0], shear) < 1e-12
    assert error(end[1], speed) < 1e-12
    assert np.max(np.abs(end[2])) < 1e-12
    assert error(end[3], tracer(x - 0.5 * speed)) < 1e-8
