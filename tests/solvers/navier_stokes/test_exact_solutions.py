"""Navier-Stokes against exact solutions: flows whose advection vanishes, and a tracer in a steady shear."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.heat_cases import error
from tests.support.navier_stokes_cases import TRACER, UNFORCED, flow, mesh, sampled, with_vorticity

LINEAR: dict[str, Any] = {
    "viscosity": [1e-3, 2e-3],
    "hyperviscosity": {"order": 3, "range": [1e-9, 2e-9]},
    "drag": [0.1, 0.2],
}


def rate(parameters: dict[str, Any], squared: float) -> float:
    """At which a wave of this squared wave number decays under `LINEAR`, 1/s."""
    found: float = (
        parameters["viscosity"] * squared + parameters["hyperviscosity"] * squared**3 + parameters["drag"]
    )
    return found


@pytest.mark.parametrize("time_step", [None, 0.05])
@pytest.mark.parametrize(("extent", "resolution"), [([1.0, 1.0], 64), ([1.0, 0.7], [24, 40])])
def test_taylor_green_decays_and_keeps_its_form(
    extent: list[float], resolution: Any, time_step: float | None
) -> None:
    solver = flow(
        extent=extent, resolution=resolution, initial={"kind": "taylor_green", "waves": 2},
        time_step=time_step, **UNFORCED, **LINEAR,
    )  # fmt: skip
    parameters = sampled(solver)
    start = solver.prepare(parameters).initial_state
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
    assert error(start, exact) < 1e-13
    end = solver.prepare(parameters).advance(start, 0.0, 1.0)
    left = np.exp(-rate(parameters, squared))
    assert left < 0.85
    assert error(end, left * exact) < 1e-10
    found = solver.prepare(parameters).invariants(end)
    enstrophy = amplitude**2 / 8 * left**2
    assert found == pytest.approx(
        {"energy": enstrophy / squared, "enstrophy": enstrophy, "palinstrophy": enstrophy * squared},
        rel=1e-10,
    )


def test_kolmogorov_flow_grows_from_rest_to_its_laminar_profile() -> None:
    forcing = {"kind": "kolmogorov", "amplitude": [0.2, 0.4], "wave_number": 3}
    solver = flow(extent=[1.0, 0.8], resolution=[16, 32], forcing=forcing, **LINEAR)
    parameters = sampled(solver)
    _, y = mesh(solver)
    wave_number = 2 * np.pi * 3 / 0.8
    force = parameters["forcing_amplitude"] * np.sin(wave_number * y)
    assert np.allclose(solver.prepare(parameters).coefficient_fields[0], force, rtol=1e-14, atol=1e-16)
    decay = rate(parameters, wave_number**2)
    state = with_vorticity(np.zeros_like(y))
    for time in (0.0, 1.5):
        state = solver.prepare(parameters).advance(state, time, 1.5)
        assert error(state[0], force / decay * -np.expm1(-decay * (time + 1.5))) < 1e-10


def test_the_forcing_of_the_fourier_neural_operator_has_its_formula() -> None:
    solver = flow(resolution=32)
    x, y = mesh(solver)
    expected = 0.1 * (np.sin(2 * np.pi * (x + y)) + np.cos(2 * np.pi * (x + y)))
    assert np.allclose(
        solver.prepare(sampled(solver)).coefficient_fields[0], expected, rtol=1e-13, atol=1e-15
    )


def test_a_tracer_in_a_fluid_at_rest_diffuses() -> None:
    solver = flow(**UNFORCED, tracer={"present": True, "diffusivity": [2e-3, 4e-3]}, resolution=[48, 64])
    parameters = sampled(solver)
    start = solver.prepare(parameters).initial_state
    tracer = start[3] + 0.7
    state = solver.prepare(parameters).advance(with_vorticity(np.zeros_like(tracer), tracer), 0.0, 0.5)
    wave_numbers = [2 * np.pi * np.fft.fftfreq(count, 1 / count) for count in tracer.shape]
    squared = np.add.outer(*(number**2 for number in wave_numbers))
    left = np.exp(-parameters["tracer_diffusivity"] * squared * 0.5)
    assert error(state[3], np.fft.ifft2(left * np.fft.fft2(tracer)).real) < 1e-12
    found = solver.prepare(parameters).invariants(state)
    assert found["tracer_mean"] == pytest.approx(0.7, rel=1e-12)
    assert found["tracer_variance"] == pytest.approx(np.var(state[3]), rel=1e-12)


def test_a_tracer_is_carried_along_by_a_steady_shear() -> None:
    # An inviscid parallel flow u(y) stays, and takes s(x, y) to s(x - u t, y); both signs of x and y matter.
    solver = flow(extent=[1.0, 0.8], resolution=[48, 96], tolerance=1e-10, **UNFORCED, **TRACER)
    parameters = sampled(solver) | {"viscosity": 0.0, "tracer_diffusivity": 0.0}
    x, y = mesh(solver)
    wave_number = 2 * np.pi / 0.8

    def tracer(x: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * x + 1) + np.cos(4 * np.pi * x - 2 * wave_number * y)

    speed = 0.5 * np.sin(wave_number * y + 0.4)
    shear = -0.5 * wave_number * np.cos(wave_number * y + 0.4)
    end = solver.prepare(parameters).advance(with_vorticity(shear, tracer(x)), 0.0, 0.5)
    assert error(end[0], shear) < 1e-12
    assert error(end[1], speed) < 1e-12
    assert np.max(np.abs(end[2])) < 1e-12
    assert error(end[3], tracer(x - 0.5 * speed)) < 1e-8
