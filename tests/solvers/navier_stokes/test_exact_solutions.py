"""Navier-Stokes compared with exact solutions: flows without advection, and a tracer in a steady shear."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from solvers.contract import Parameters
from tests.support.heat_cases import relative_error
from tests.support.navier_stokes_cases import (
    LIVELY_FLOW,
    NO_FORCING,
    TRACER,
    flow,
    mesh,
    prepare_trajectory,
    sample_parameters,
    state_with_vorticity,
)

LINEAR_TERMS: dict[str, Any] = {
    "viscosity": [1e-3, 2e-3],
    "hyperviscosity": {"order": 3, "range": [1e-9, 2e-9]},
    "drag": [0.1, 0.2],
}


def decay_rate(parameters: Parameters, squared_wave_number: float) -> float:
    """Return the decay rate (1/s) of a wave with this squared wave number."""
    rate: float = (
        parameters["viscosity"] * squared_wave_number
        + parameters["hyperviscosity"] * squared_wave_number**3
        + parameters["drag"]
    )
    return rate


@pytest.mark.parametrize("time_step", [None, 0.05])
@pytest.mark.parametrize(("extent", "resolution"), [([1.0, 1.0], 64), ([1.0, 0.7], [24, 40])])
def test_taylor_green_vortices_decay_without_a_change_of_form(
    extent: list[float], resolution: Any, time_step: float | None
) -> None:
    solver = flow(
        extent=extent, resolution=resolution, initial={"kind": "taylor_green", "waves": 2},
        time_step=time_step, **NO_FORCING, **LINEAR_TERMS,
    )  # fmt: skip
    parameters = sample_parameters(solver)
    trajectory = solver.prepare(parameters)
    x, y = mesh(solver)
    (k, m), (a, b) = (4 * np.pi / length for length in extent), parameters["initial_phases"]
    amplitude, squared_wave_number = parameters["amplitude"], k**2 + m**2
    # w = -Lap psi, u = psi_y, v = -psi_x.
    vorticity = amplitude * np.sin(k * x + a) * np.sin(m * y + b)
    velocity = np.array(
        [
            amplitude * m / squared_wave_number * np.sin(k * x + a) * np.cos(m * y + b),
            -amplitude * k / squared_wave_number * np.cos(k * x + a) * np.sin(m * y + b),
        ]
    )
    initial_fields = np.array([vorticity, *velocity])
    assert relative_error(trajectory.initial_state, initial_fields) < 1e-13
    final_state = trajectory.advance(trajectory.initial_state, 0.0, 1.0)
    decay = np.exp(-decay_rate(parameters, squared_wave_number))
    assert decay < 0.85
    assert relative_error(final_state, decay * initial_fields) < 1e-10
    enstrophy = amplitude**2 / 8 * decay**2
    assert trajectory.invariants(final_state) == pytest.approx(
        {
            "energy": enstrophy / squared_wave_number,
            "enstrophy": enstrophy,
            "palinstrophy": enstrophy * squared_wave_number,
        },
        rel=1e-10,
    )


def test_kolmogorov_flow_grows_from_rest_to_its_laminar_profile() -> None:
    forcing = {"kind": "kolmogorov", "amplitude": [0.2, 0.4], "wave_number": 3}
    solver = flow(extent=[1.0, 0.8], resolution=[16, 32], forcing=forcing, **LINEAR_TERMS)
    parameters = sample_parameters(solver)
    trajectory = solver.prepare(parameters)
    _, y = mesh(solver)
    wave_number = 2 * np.pi * 3 / 0.8
    force = parameters["forcing_amplitude"] * np.sin(wave_number * y)
    assert trajectory.coefficient_fields is not None
    assert np.allclose(trajectory.coefficient_fields[0], force, rtol=1e-14, atol=1e-16)
    rate = decay_rate(parameters, wave_number**2)
    state = state_with_vorticity(np.zeros_like(y))
    for time in (0.0, 1.5):
        state = trajectory.advance(state, time, 1.5)
        assert relative_error(state[0], force / rate * -np.expm1(-rate * (time + 1.5))) < 1e-10


def test_the_diagonal_forcing_follows_its_formula() -> None:
    solver = flow(resolution=32)
    x, y = mesh(solver)
    expected = 0.1 * (np.sin(2 * np.pi * (x + y)) + np.cos(2 * np.pi * (x + y)))
    forcing = solver.prepare(sample_parameters(solver)).coefficient_fields[0]
    assert np.allclose(forcing, expected, rtol=1e-13, atol=1e-15)


RING: dict[str, Any] = {"kind": "ring", "injection_rate": [1e-9, 1e-9], "ring": [6.0, 20.0], "renewal": 0.1}


@pytest.mark.parametrize("forcing", [{"kind": "none"}, {"amplitude": [1e-4, 1e-4]}, RING])
def test_the_linear_solution_is_that_of_a_weak_flow(forcing: dict[str, Any]) -> None:
    initial = LIVELY_FLOW["initial"] | {"amplitude": [1e-5, 1e-5]}
    solver = flow(**LIVELY_FLOW | {"forcing": forcing, "initial": initial})
    trajectory = solver.prepare(sample_parameters(solver))
    start = trajectory.initial_state
    state, linear_state = (
        advance(start, 0.05, 0.75) for advance in (trajectory.advance, trajectory.advance_linear)
    )
    assert relative_error(state, start) > 0.1
    for channel in range(4):
        assert relative_error(linear_state[channel], state[channel]) < 1e-4


def test_a_tracer_in_a_fluid_at_rest_diffuses() -> None:
    solver = flow(**NO_FORCING, tracer={"present": True, "diffusivity": [2e-3, 4e-3]}, resolution=[48, 64])
    parameters = sample_parameters(solver)
    trajectory = solver.prepare(parameters)
    tracer = trajectory.initial_state[3] + 0.7
    state = trajectory.advance(state_with_vorticity(np.zeros_like(tracer), tracer), 0.0, 0.5)
    wave_numbers = [2 * np.pi * np.fft.fftfreq(count, 1 / count) for count in tracer.shape]
    squared_wave_number = np.add.outer(*(k**2 for k in wave_numbers))
    decay = np.exp(-parameters["tracer_diffusivity"] * squared_wave_number * 0.5)
    assert relative_error(state[3], np.fft.ifft2(decay * np.fft.fft2(tracer)).real) < 1e-12
    invariants = trajectory.invariants(state)
    assert invariants["tracer_mean"] == pytest.approx(0.7, rel=1e-12)
    assert invariants["tracer_variance"] == pytest.approx(np.var(state[3]), rel=1e-12)


def test_the_mean_of_the_tracer_has_an_exact_budget_of_zero() -> None:
    trajectory = prepare_trajectory(**TRACER, forcing={"amplitude": [5.0, 5.0]}, resolution=128)
    state = trajectory.initial_state + 0.7
    final_state = trajectory.advance(state, 0.0, 0.5)
    budget = trajectory.budget(state, 0.0, 0.5)
    assert budget == {"tracer_mean": 0.0}
    invariants_before, invariants_after = trajectory.invariants(state), trajectory.invariants(final_state)
    assert invariants_after["tracer_variance"] < 0.99 * invariants_before["tracer_variance"]
    assert invariants_after["tracer_mean"] == pytest.approx(invariants_before["tracer_mean"], rel=1e-14)
    assert prepare_trajectory().budget(state[:3], 0.0, 0.5) == {}


def test_a_steady_shear_advects_a_tracer() -> None:
    # An inviscid parallel flow u(y) is steady and advects s(x, y) to s(x - u t, y).
    solver = flow(extent=[1.0, 0.8], resolution=[48, 96], tolerance=1e-10, **NO_FORCING, **TRACER)
    trajectory = solver.prepare(sample_parameters(solver) | {"viscosity": 0.0, "tracer_diffusivity": 0.0})
    x, y = mesh(solver)
    wave_number = 2 * np.pi / 0.8

    def tracer(x: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * x + 1) + np.cos(4 * np.pi * x - 2 * wave_number * y)

    velocity = 0.5 * np.sin(wave_number * y + 0.4)
    vorticity = -0.5 * wave_number * np.cos(wave_number * y + 0.4)
    final_state = trajectory.advance(state_with_vorticity(vorticity, tracer(x)), 0.0, 0.5)
    assert relative_error(final_state[0], vorticity) < 1e-12
    assert relative_error(final_state[1], velocity) < 1e-12
    assert np.max(np.abs(final_state[2])) < 1e-12
    assert relative_error(final_state[3], tracer(x - 0.5 * velocity)) < 1e-8
