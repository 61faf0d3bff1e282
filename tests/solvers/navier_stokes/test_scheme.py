"""The order of the Navier-Stokes scheme, what it conserves, and how it chooses its steps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from solvers.contract import Parameters
from solvers.navier_stokes import NavierStokes
from solvers.navier_stokes.etdrk4 import weights
from tests.support.heat_cases import error, order
from tests.support.navier_stokes_cases import LIVELY, UNFORCED, flow, sampled, spectral_derivative

RING: dict[str, Any] = {
    "kind": "ring",
    "injection_rate": [0.05, 0.05],
    "ring": [10.0, 30.0],
    "renewal": 0.125,
}


def turned(solver: NavierStokes, parameters: Parameters, duration: float = 0.5) -> np.ndarray:
    return advanced(solver, parameters, duration)[0]


def advanced(
    solver: NavierStokes, parameters: Parameters, duration: float = 0.5
) -> tuple[np.ndarray, Mapping[str, int]]:
    trajectory = solver.prepare(parameters)
    return trajectory.advance(trajectory.initial_state, 0.0, duration), trajectory.counts


@pytest.mark.parametrize("forcing", [{"kind": "none"}, {"kind": "diagonal", "amplitude": [5.0, 5.0]}, RING])
def test_the_order_is_four(forcing: dict[str, Any]) -> None:
    steps = [1 / 32, 1 / 64, 1 / 128, 1 / 1024]
    solvers = [flow(**LIVELY, forcing=forcing, time_step=step) for step in steps]
    parameters = sampled(solvers[0])
    *ends, exact = (turned(solver, parameters) for solver in solvers)
    for channel in (0, 3):
        errors = [error(end[channel], exact[channel]) for end in ends]
        assert errors[0] < 0.05
        assert errors[-1] > 1e-12
        assert order(errors) == pytest.approx(4, abs=0.2)


def test_the_order_is_four_where_viscosity_is_stiff() -> None:
    # The largest kept wave decays by exp(-10) in the longest of the steps.
    options = LIVELY | {"viscosity": [0.1, 0.1], "initial": LIVELY["initial"] | {"amplitude": [20.0, 20.0]}}
    steps = [1 / 64, 1 / 128, 1 / 256, 1 / 2048]
    solvers = [flow(**options, **UNFORCED, time_step=step) for step in steps]
    parameters = sampled(solvers[0])
    *ends, exact = (turned(solver, parameters, 0.125) for solver in solvers)
    assert order([error(end, exact) for end in ends]) == pytest.approx(4, abs=0.2)


def test_an_inviscid_flow_keeps_energy_and_enstrophy_to_the_order_of_the_scheme() -> None:
    drifts = []
    for step in (1 / 32, 1 / 64, 1 / 128):
        solver = flow(**LIVELY, **UNFORCED, time_step=step)
        names = ("viscosity", "hyperviscosity", "drag", "tracer_diffusivity")
        parameters = sampled(solver) | dict.fromkeys(names, 0.0)
        before = solver.prepare(parameters).invariants(solver.prepare(parameters).initial_state)
        after = solver.prepare(parameters).invariants(turned(solver, parameters, 1.0))
        assert abs(after["palinstrophy"] / before["palinstrophy"] - 1) > 0.1, "nothing happens"
        drifts.append(
            [abs(after[name] / before[name] - 1) for name in ("energy", "enstrophy", "tracer_variance")]
        )
    assert np.all(np.array(drifts[-1]) < 1e-5)
    falls = np.log2(np.array(drifts[0]) / np.array(drifts[-1])) / 2
    assert np.all(falls > 3.8)


def test_energy_and_enstrophy_fall_at_the_rate_of_viscosity() -> None:
    solver = flow(
        **LIVELY | {"drag": [0.0, 0.0], "hyperviscosity": {"range": [0.0, 0.0]}}, **UNFORCED, tolerance=1e-9
    )
    parameters = sampled(solver)
    step = 2e-3
    states = [solver.prepare(parameters).initial_state]
    for number in range(4):
        states.append(solver.prepare(parameters).advance(states[-1], number * step, step))
    found = [solver.prepare(parameters).invariants(state) for state in states]
    for quantity, loss in (("energy", "enstrophy"), ("enstrophy", "palinstrophy")):
        values = [one[quantity] for one in found]
        slope = (values[0] - 8 * values[1] + 8 * values[3] - values[4]) / (12 * step)
        assert slope == pytest.approx(-2 * parameters["viscosity"] * found[2][loss], rel=1e-7)
    # The means of the definition, on the grid.
    vorticity, u, v, tracer = states[2]
    gradient = [spectral_derivative(vorticity, axis, length) for axis, length in ((-2, 1.0), (-1, 0.8))]
    assert found[2] == pytest.approx(
        {
            "energy": np.mean(u**2 + v**2) / 2,
            "enstrophy": np.mean(vorticity**2) / 2,
            "palinstrophy": np.mean(gradient[0] ** 2 + gradient[1] ** 2) / 2,
            "tracer_variance": np.var(tracer),
            "tracer_mean": np.mean(tracer),
        },
        rel=1e-12, abs=1e-14,
    )  # fmt: skip


def test_the_velocity_has_no_divergence_and_the_curl_of_the_vorticity() -> None:
    solver = flow(**LIVELY, **UNFORCED)
    vorticity, u, v, _ = turned(solver, sampled(solver))
    along = {"x": (-2, 1.0), "y": (-1, 0.8)}
    divergence = spectral_derivative(u, *along["x"]) + spectral_derivative(v, *along["y"])
    assert np.max(np.abs(divergence)) < 1e-12 * np.max(np.abs(vorticity))
    curl = spectral_derivative(v, *along["x"]) - spectral_derivative(u, *along["y"])
    assert error(curl, vorticity) < 1e-12
    assert np.max(np.abs(np.mean([vorticity, u, v], axis=(1, 2)))) < 1e-13


def test_steps_follow_the_tolerance_and_the_flow() -> None:
    parameters = sampled(flow(**LIVELY, **UNFORCED))
    exact = turned(flow(**LIVELY, **UNFORCED, time_step=1 / 1024), parameters)
    errors, steps = [], []
    for tolerance in (1e-4, 1e-6, 1e-8):
        solver = flow(**LIVELY, **UNFORCED, tolerance=tolerance)
        end, counts = advanced(solver, parameters)
        errors.append(error(end, exact))
        steps.append(counts["steps"])
        assert errors[-1] < tolerance * counts["steps"]
    assert all(coarse > 10 * fine for coarse, fine in itertools.pairwise(errors))
    assert all(coarse < fine for coarse, fine in itertools.pairwise(steps))
    # Ten times the speed and tenth the time is the same flow but for the linear terms: as many steps.
    solver = flow(**LIVELY, **UNFORCED)
    _, slow = advanced(solver, parameters)
    _, fast = advanced(solver, parameters | {"amplitude": 10 * parameters["amplitude"]}, 0.05)
    assert fast["steps"] == pytest.approx(slow["steps"], rel=0.3)


@pytest.mark.parametrize("z", [0.0, -1e-9, -1e-3, -0.5, -0.999, -1.001, -5.0, -50.0, -1e4])
def test_the_weights_of_a_step_have_no_cancellation(z: float) -> None:
    """Against the means of phi_k over a circle in the complex plane (Kassam & Trefethen 2005)."""
    points = z + np.exp(2j * np.pi * (np.arange(64) + 0.5) / 64)
    one = np.expm1(points) / points
    two = (one - 1) / points
    three = (two - 0.5) / points
    half = np.mean(np.expm1(points / 2) / points)
    means = (half, np.mean(one - 3 * two + 4 * three), np.mean(2 * two - 4 * three), np.mean(4 * three - two))
    found = np.ravel(weights(np.array([[[z]]]), 1.0))
    assert found[0] == pytest.approx(np.exp(z / 2), rel=1e-14)
    for number, mean in enumerate(means, start=1):
        assert found[number] == pytest.approx(mean.real, rel=1e-11, abs=1e-15)
