"""The deep operator network: trunk, derivatives, queries at any time, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from surrogates import store
from surrogates.contract import Batch, Surrogate
from surrogates.networks import taylor_mode
from surrogates.networks.deeponet_trunk import Trunk
from surrogates.physics.grid_derivatives import GridDerivatives
from tests.support import problems

HORIZON_STEPS = 4
OPTIONS = {"width": 12, "modes": 6, "layers": 2, "functions": 3, "horizon_steps": HORIZON_STEPS}


@pytest.fixture(autouse=True)
def _float64() -> object:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def build(
    autonomous: bool = True, boundaries: tuple[str, ...] = ("periodic", "dirichlet"), **options: Any
) -> Surrogate:
    problem = problems.grid_problem((18, 17)[: len(boundaries)], boundaries, autonomous)
    return store.build("deeponet", OPTIONS | options, problem, "float64")


def arguments_of(surrogate: Surrogate) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    batch = problems.batch(surrogate.problem, 2, dtype=torch.float64)
    return batch["state"][:, 0], problems.parameters_by_name(surrogate.problem, batch)


def build_trunk(boundaries: tuple[str, ...], modes: int = 5) -> Trunk:
    problem = problems.grid_problem((18, 17, 12)[: len(boundaries)], boundaries)
    return Trunk(problem, (modes,) * len(boundaries), functions=3, width=8, horizon=1.0)


BOUNDARY_CONDITIONS = [
    ("periodic",),
    ("dirichlet",),
    ("neumann",),
    ("periodic", "neumann"),
    ("dirichlet", "neumann", "periodic"),
]


@pytest.mark.parametrize("boundaries", BOUNDARY_CONDITIONS)
def test_coefficients_of_a_field_are_its_amplitudes(boundaries: tuple[str, ...]) -> None:
    trunk = build_trunk(boundaries)
    amplitudes = torch.randn(2, 3, *[9] * len(boundaries))
    field = trunk.field(amplitudes).value
    assert field.shape == (2, 3, *(18, 17, 12)[: len(boundaries)])
    torch.testing.assert_close(trunk.coefficients(field.movedim(1, -1)), amplitudes)


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet", "neumann"])
def test_all_modes_together_represent_any_field_on_the_grid(boundary: str) -> None:
    # The field need not satisfy the boundary conditions, because initial states may violate them.
    trunk = Trunk(problems.grid_problem((17,), (boundary,)), (9,), functions=3, width=8, horizon=1.0)
    field = 1 + torch.randn(2, 17, 3)
    torch.testing.assert_close(trunk.field(trunk.coefficients(field)).value, field.movedim(-1, 1))


@pytest.mark.parametrize("wall", ["dirichlet", "neumann"])
def test_derivatives_in_space_agree_with_the_field_on_the_grid(wall: str) -> None:
    # The reference derivatives are a Fourier series along x and differences over 7 cells along y.
    problem = problems.grid_problem((18, 320), ("periodic", wall))
    trunk, grid_derivatives = (
        Trunk(problem, (5, 3), functions=3, width=8, horizon=1.0),
        GridDerivatives(problem),
    )
    field = trunk.field(torch.randn(9, 5))
    reference_jet = grid_derivatives.jet(field.value)
    for axes in ("x", "y", "xx", "xy", "yy", "xxxx"):
        actual, expected = field, reference_jet
        for axis in axes:
            actual, expected = taylor_mode.derivative(actual, axis), taylor_mode.derivative(expected, axis)
        scale = expected.value.abs().max().item()
        torch.testing.assert_close(actual.value, expected.value, rtol=0, atol=1e-6 * scale)


def test_the_derivative_in_time_agrees_with_finite_differences() -> None:
    trunk = build_trunk(("periodic", "dirichlet"))
    coefficients = torch.randn(2, 6, 9, 9)
    time, step = torch.tensor([[0.3, 0.9], [0.0, 0.5]]), 1e-5
    rate = taylor_mode.derivative(trunk.field(trunk.amplitudes(coefficients, time)), "t").value
    field_before, field_after = (
        trunk.field(trunk.amplitudes(coefficients, time + dt)).value for dt in (-step, step)
    )
    assert rate.shape == (2, 2, 2, 18, 17)
    torch.testing.assert_close(rate, (field_after - field_before) / (2 * step), rtol=1e-6, atol=1e-6)


def test_any_time_is_predicted_and_the_start_is_the_initial_state() -> None:
    surrogate = build()
    state, parameters = arguments_of(surrogate)
    prediction = surrogate.predict(state, parameters, np.array([0.0, 1e-9, 0.123, 1.0])).mean
    torch.testing.assert_close(prediction[:, 1], state, rtol=1e-6, atol=1e-6)
    assert (prediction[:, 2] - prediction[:, 3]).norm() > 1e-5 * state.norm()


def test_a_prediction_does_not_depend_on_the_other_times() -> None:
    surrogate = build()
    state, parameters = arguments_of(surrogate)
    times = np.array([0.0, 0.4, 1.0, 1.7, 2.0, 3.1])
    predictions = surrogate.predict(state, parameters, times).mean
    for index, time in enumerate(times[1:], start=1):
        single_prediction = surrogate.predict(state, parameters, np.array([0.0, time])).mean
        # One product computes all times, with other rounding than the product for a single time.
        torch.testing.assert_close(single_prediction[:, 1], predictions[:, index], rtol=1e-12, atol=0)


@pytest.mark.parametrize("autonomous", [True, False])
def test_a_query_beyond_the_horizon_starts_from_the_last_prediction(autonomous: bool) -> None:
    surrogate = build(autonomous)
    state, parameters = arguments_of(surrogate)
    horizon = HORIZON_STEPS * surrogate.problem.time_step
    state_at_horizon = surrogate.predict(state, parameters, np.array([0.0, horizon])).mean[:, -1]
    restarted_prediction = surrogate.predict(
        state_at_horizon, parameters, np.array([horizon, 1.5 * horizon])
    ).mean[:, -1]
    direct_prediction = surrogate.predict(state, parameters, np.array([0.0, 1.5 * horizon])).mean[:, -1]
    torch.testing.assert_close(direct_prediction, restarted_prediction, rtol=1e-12, atol=1e-12)


def test_a_shift_along_a_periodic_axis_shifts_the_prediction() -> None:
    surrogate = build()
    state, parameters = arguments_of(surrogate)
    times = np.array([0.0, 0.25, 1.5])
    prediction = surrogate.predict(state, parameters, times).mean
    parameters["conductivity"] = parameters["conductivity"].roll(5, dims=1)
    shifted_prediction = surrogate.predict(state.roll(5, dims=2), parameters, times).mean
    torch.testing.assert_close(shifted_prediction, prediction.roll(5, dims=3), rtol=1e-10, atol=0)


def test_windows_of_another_length_are_refused() -> None:
    surrogate = build()
    with pytest.raises(ValueError, match=r"training\.unroll=2 .* surrogate\.horizon_steps=4"):
        surrogate(problems.batch(surrogate.problem, 2, frames=3, dtype=torch.float64))


@pytest.mark.parametrize("option", ["width", "layers", "functions", "horizon_steps"])
def test_an_option_below_one_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=rf"surrogate\.{option}=0.* is too small"):
        build(**{option: 0})


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        ([4, 4, 4], "3 numbers for the 2 axes x, y"),
        ([4, 10], "modes=10 on axis y is out of range. Its 17 cells resolve 1 to 9"),
    ],
)
def test_modes_that_do_not_fit_are_refused(modes: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(modes=modes)


def test_the_deeponet_learns_travelling_and_decaying_waves() -> None:
    # u_t + c u_x = k u_xx on a periodic axis, with the speed c as the parameter.
    surrogate = build(boundaries=("periodic",), modes=4, functions=6)
    problem, rng = surrogate.problem, np.random.default_rng(0)
    waves = np.arange(1, 4) * np.pi
    x = (np.arange(18) + 0.5) / 9
    time = np.arange(HORIZON_STEPS + 1) * problem.time_step

    def windows(count: int) -> Batch:
        amplitudes, phases = rng.normal(size=(2, 2, count, 3, 1, 1))
        speed = rng.uniform(1, 3, (count, 1, 1, 1))
        mean, std = (
            np.array(values)[:, None] for values in (problem.statistics.mean, problem.statistics.std)
        )
        angle = waves[:, None, None] * (x - 0.1 * speed * time[:, None]) + phases
        decay = np.exp(-0.02 * waves[:, None, None] ** 2 * time[:, None])
        states = np.stack((amplitudes * decay * np.cos(angle)).sum(axis=2), axis=2)
        return {
            "state": torch.tensor(states * std + mean),
            "coefficient_fields": torch.full((count, 1, 18), 2.0),
            "parameters": torch.tensor(speed[:, 0, 0]),
            "time": torch.tensor(time).expand(count, -1),
        }

    optimiser = torch.optim.Adam(surrogate.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=400)
    for _ in range(400):
        optimiser.zero_grad()
        surrogate(windows(32))["data"].backward()
        optimiser.step()
        schedule.step()
    test_windows = windows(64)
    parameters = problems.parameters_by_name(problem, test_windows)
    prediction = surrogate.predict(test_windows["state"][:, 0], parameters, time).mean
    initial_states, truth = test_windows["state"][:, :1], test_windows["state"]
    assert (prediction - truth).norm() < (initial_states - truth).norm() / 10
