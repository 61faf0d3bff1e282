"""Orders, conservation and step size control of the Navier-Stokes scheme."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from solvers.contract import Parameters
from solvers.navier_stokes import NavierStokes
from solvers.navier_stokes.exponential_weights import weights
from tests.support.heat_cases import observed_order, relative_error
from tests.support.navier_stokes_cases import (
    LIVELY_FLOW,
    NO_FORCING,
    flow,
    prepare_trajectory,
    sample_parameters,
    spectral_derivative,
)

RING_FORCING: dict[str, Any] = {
    "kind": "ring",
    "injection_rate": [2e-3, 2e-3],
    "ring": [10.0, 20.0],
    "renewal": 0.125,
}


def state_after(solver: NavierStokes, parameters: Parameters, duration: float = 0.5) -> np.ndarray:
    """Return the state after `duration` (s) from the initial state."""
    trajectory = solver.prepare(parameters)
    return trajectory.advance(trajectory.initial_state, 0.0, duration)


@pytest.mark.parametrize(
    "forcing", [{"kind": "none"}, {"kind": "diagonal", "amplitude": [5.0, 5.0]}, RING_FORCING]
)
def test_the_order_in_time_is_four(forcing: dict[str, Any]) -> None:
    steps = [1 / 32, 1 / 64, 1 / 128, 1 / 1024]
    solvers = [flow(**LIVELY_FLOW, forcing=forcing, time_step=step) for step in steps]
    assert {solver.order_in_time for solver in solvers} == {4}
    parameters = sample_parameters(solvers[0])
    *final_states, reference = (state_after(solver, parameters) for solver in solvers)
    for channel in (0, 3):
        errors = [relative_error(final_state[channel], reference[channel]) for final_state in final_states]
        assert errors[0] < 0.05
        assert errors[-1] > 1e-12
        assert observed_order(errors) == pytest.approx(4, abs=0.2)


def test_the_order_in_time_is_four_where_viscosity_is_stiff() -> None:
    # The shortest resolved wave decays by exp(-10) in the longest step.
    options = LIVELY_FLOW | {
        "viscosity": [0.1, 0.1],
        "initial": LIVELY_FLOW["initial"] | {"amplitude": [20.0, 20.0]},
        "tracer": LIVELY_FLOW["tracer"] | {"diffusivity": [7e-3, 7e-3]},
    }
    steps = [1 / 64, 1 / 128, 1 / 256, 1 / 2048]
    solvers = [flow(**options, **NO_FORCING, time_step=step) for step in steps]
    parameters = sample_parameters(solvers[0])
    *final_states, reference = (state_after(solver, parameters, 0.125) for solver in solvers)
    assert observed_order(
        [relative_error(final_state, reference) for final_state in final_states]
    ) == pytest.approx(4, abs=0.2)


def test_the_error_in_space_falls_faster_than_any_power() -> None:
    cells = [24, 36, 48, 96]
    options = LIVELY_FLOW | {"extent": [1.0, 1.0]}
    solvers = [flow(**options | {"resolution": count}, **NO_FORCING, time_step=1 / 256) for count in cells]
    assert {solver.order_in_space for solver in solvers} == {math.inf}
    parameters = sample_parameters(solvers[0])
    # The grids have different cell centres. The comparison uses Fourier coefficients relative to the origin.
    waves = []
    for solver, count in zip(solvers, cells, strict=True):
        phase = np.exp(-1j * np.pi / count * np.add.outer(np.arange(5), np.arange(5)))
        state = state_after(solver, parameters, 0.25)
        waves.append(np.fft.fft2(state)[:, :5, :5] / count**2 * phase)
    *errors, _ = (relative_error(coefficients, waves[-1]) for coefficients in waves)
    assert errors[0] < 1e-5
    assert observed_order(errors[:2], 36 / 24) > 15
    assert observed_order(errors[1:], 48 / 36) > 15


@pytest.mark.parametrize(
    "changes",
    [
        NO_FORCING | {"initial": {"kind": "random_field", "amplitude": [2.0, 3.0]}},
        NO_FORCING | {"initial": {"kind": "vortices", "amplitude": [10.0, 10.0]}, "viscosity": [2e-3, 2e-3]},
        NO_FORCING | {"initial": {"kind": "taylor_green"}},
        {"forcing": {"kind": "kolmogorov", "amplitude": [1.0, 1.0]}},
        {"forcing": {"kind": "ring"}},
        {},
    ],
)
def test_the_change_of_a_flow_in_its_time_scale_is_of_the_order_of_its_norm(changes: dict[str, Any]) -> None:
    solver = flow(**changes)
    initial_state, final_state = solver.prepare(sample_parameters(solver)).solve(
        np.array([0.0, solver.time_scale])
    )
    # A forced flow starts from a weak random field, so the scale is the larger of the two norms.
    scale = max(np.linalg.norm(initial_state[0]), np.linalg.norm(final_state[0]))
    assert 0.15 < np.linalg.norm(final_state[0] - initial_state[0]) / scale < 1.5


def test_an_inviscid_flow_conserves_energy_and_enstrophy_to_the_order_of_the_scheme() -> None:
    drifts = []
    for step in (1 / 32, 1 / 64, 1 / 128):
        solver = flow(**LIVELY_FLOW, **NO_FORCING, time_step=step)
        names = ("viscosity", "hyperviscosity", "drag", "tracer_diffusivity")
        trajectory = solver.prepare(sample_parameters(solver) | dict.fromkeys(names, 0.0))
        invariants_before = trajectory.invariants(trajectory.initial_state)
        invariants_after = trajectory.invariants(trajectory.advance(trajectory.initial_state, 0.0, 1.0))
        assert abs(invariants_after["palinstrophy"] / invariants_before["palinstrophy"] - 1) > 0.1, (
            "the flow does not change"
        )
        drifts.append(
            [
                abs(invariants_after[name] / invariants_before[name] - 1)
                for name in ("energy", "enstrophy", "tracer_variance")
            ]
        )
    assert np.all(np.array(drifts[-1]) < 1e-5)
    orders = np.log2(np.array(drifts[0]) / np.array(drifts[-1])) / 2
    assert np.all(orders > 3.8)


def test_energy_and_enstrophy_fall_at_the_rate_of_viscosity() -> None:
    solver = flow(
        **LIVELY_FLOW | {"drag": [0.0, 0.0], "hyperviscosity": {"range": [0.0, 0.0]}},
        **NO_FORCING,
        tolerance=1e-9,
    )
    parameters = sample_parameters(solver)
    trajectory = solver.prepare(parameters)
    step = 2e-3
    states = list(trajectory.solve(step * np.arange(5)))
    invariants = [trajectory.invariants(state) for state in states]
    for quantity, dissipated_quantity in (("energy", "enstrophy"), ("enstrophy", "palinstrophy")):
        values = [row[quantity] for row in invariants]
        rate = (values[0] - 8 * values[1] + 8 * values[3] - values[4]) / (12 * step)
        assert rate == pytest.approx(
            -2 * parameters["viscosity"] * invariants[2][dissipated_quantity], rel=1e-7
        )
    # The invariants are means over the grid.
    vorticity, u, v, tracer = states[2]
    gradient = [spectral_derivative(vorticity, axis, length) for axis, length in ((-2, 1.0), (-1, 0.8))]
    assert invariants[2] == pytest.approx(
        {
            "energy": np.mean(u**2 + v**2) / 2,
            "enstrophy": np.mean(vorticity**2) / 2,
            "palinstrophy": np.mean(gradient[0] ** 2 + gradient[1] ** 2) / 2,
            "tracer_variance": np.var(tracer),
            "tracer_mean": np.mean(tracer),
        },
        rel=1e-12, abs=1e-14,
    )  # fmt: skip


def test_the_velocity_has_zero_divergence_and_its_curl_is_the_vorticity() -> None:
    solver = flow(**LIVELY_FLOW, **NO_FORCING)
    vorticity, u, v, _ = state_after(solver, sample_parameters(solver))
    x_axis, y_axis = (-2, 1.0), (-1, 0.8)
    divergence = spectral_derivative(u, *x_axis) + spectral_derivative(v, *y_axis)
    assert np.max(np.abs(divergence)) < 1e-12 * np.max(np.abs(vorticity))
    curl = spectral_derivative(v, *x_axis) - spectral_derivative(u, *y_axis)
    assert relative_error(curl, vorticity) < 1e-12
    assert np.max(np.abs(np.mean([vorticity, u, v], axis=(1, 2)))) < 1e-13


def test_steps_follow_the_tolerance_and_the_flow() -> None:
    parameters = sample_parameters(flow(**LIVELY_FLOW, **NO_FORCING))
    reference = state_after(flow(**LIVELY_FLOW, **NO_FORCING, time_step=1 / 1024), parameters)
    errors, steps = [], []
    for tolerance in (1e-4, 1e-6, 1e-8):
        trajectory = prepare_trajectory(**LIVELY_FLOW, **NO_FORCING, tolerance=tolerance)
        errors.append(relative_error(trajectory.advance(trajectory.initial_state, 0.0, 0.5), reference))
        steps.append(trajectory.counts["steps"])
        assert errors[-1] < tolerance * steps[-1]
    assert all(coarse_value > 10 * fine_value for coarse_value, fine_value in itertools.pairwise(errors))
    assert all(coarse_value < fine_value for coarse_value, fine_value in itertools.pairwise(steps))
    # At ten times the speed and in a tenth of the time, the flow has the same advection.
    solver = flow(**LIVELY_FLOW, **NO_FORCING)
    slow_trajectory = solver.prepare(parameters)
    fast_trajectory = solver.prepare(parameters | {"amplitude": 10 * parameters["amplitude"]})
    slow_trajectory.advance(slow_trajectory.initial_state, 0.0, 0.5)
    fast_trajectory.advance(fast_trajectory.initial_state, 0.0, 0.05)
    assert fast_trajectory.counts["steps"] == pytest.approx(slow_trajectory.counts["steps"], rel=0.3)


@pytest.mark.parametrize("z", [0.0, -1e-9, -1e-3, -0.5, -0.999, -1.001, -5.0, -50.0, -1e4])
def test_the_weights_of_a_step_have_no_cancellation_errors(z: float) -> None:
    """Compare with the means of phi_k over a circle in the complex plane (Kassam & Trefethen 2005)."""
    points = z + np.exp(2j * np.pi * (np.arange(64) + 0.5) / 64)
    phi_1 = np.expm1(points) / points
    phi_2 = (phi_1 - 1) / points
    phi_3 = (phi_2 - 0.5) / points
    half_step_mean = np.mean(np.expm1(points / 2) / points)
    means = (
        half_step_mean,
        np.mean(phi_1 - 3 * phi_2 + 4 * phi_3),
        np.mean(2 * phi_2 - 4 * phi_3),
        np.mean(4 * phi_3 - phi_2),
    )
    step_weights = np.ravel(weights(np.array([[[z]]]), 1.0))
    assert step_weights[0] == pytest.approx(np.exp(z / 2), rel=1e-14)
    for index, mean in enumerate(means, start=1):
        assert step_weights[index] == pytest.approx(mean.real, rel=1e-11, abs=1e-15)
