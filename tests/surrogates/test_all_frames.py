"""Prediction of all frames in one pass by the networks on grids."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import surrogates
from pipeline.training import option_checks
from simsurrogate.spec import Field
from surrogates import store
from surrogates.autoregressive import AutoregressiveSurrogate
from surrogates.contract import Batch, Problem
from tests.support import problems
from tests.support.surrogate_cases import arguments_of
from tests.support.trainings.training_cases import read_settings

NAMES = ("fno", "unet")
#: The steps of a trajectory: its duration of 2 s in steps of 0.25 s.
NUM_STEPS = 8
OPTIONS = {"predicts": "all_frames"}


def build(name: str, problem: Problem, precision: str = "float64", **options: Any) -> AutoregressiveSurrogate:
    """Return a surrogate of all frames in which every weight is nonzero."""
    torch.manual_seed(0)
    surrogate = store.build(name, problems.options(name) | OPTIONS | options, problem, precision)
    with torch.no_grad():
        for weight in surrogate.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    assert isinstance(surrogate, AutoregressiveSurrogate)
    return surrogate


def windows(problem: Problem, frames: int = NUM_STEPS + 1) -> Batch:
    return problems.batch(problem, 2, frames, dtype=torch.float64)


@pytest.mark.parametrize("boundaries", [("periodic",), ("dirichlet", "neumann"), ("periodic",) * 3])
@pytest.mark.parametrize("name", NAMES)
def test_all_frames_have_one_pass_and_every_weight_has_a_gradient(name: str, boundaries: Any) -> None:
    problem = problems.grid_problem(problems.SITES[len(boundaries)], boundaries)
    surrogate = build(name, problem)
    assert surrogate.window_steps == surrogate.num_frames == NUM_STEPS
    losses = surrogate(windows(problem))
    losses["rollout"].backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in surrogate.parameters())
    arguments = arguments_of(problem, [0.0, 0.5, 2.0])
    prediction = surrogate.predict(**arguments).mean
    assert prediction.shape == (2, 3, 2, *problem.spec.shape)
    assert torch.equal(prediction[:, 0], arguments["initial_state"])


@pytest.mark.parametrize("autonomous", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_the_predicted_trajectory_is_zero(name: str, autonomous: bool) -> None:
    problem = problems.grid_problem((16, 17), ("periodic", "dirichlet"), autonomous)
    surrogate = build(name, problem)
    batch = windows(problem)
    assert surrogate(batch)["rollout"] > 0.1
    batch["state"] = surrogate.predict(
        batch["state"][:, 0], problems.parameters_by_name(problem, batch), batch["time"][0].numpy()
    ).mean
    assert surrogate(batch)["rollout"] < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_the_frames_depend_on_the_elapsed_time_alone(name: str) -> None:
    problem = problems.grid_problem((16, 17), ("periodic", "dirichlet"))
    surrogate = build(name, problem)
    prediction, later_prediction, single_frame = (
        surrogate.predict(**arguments_of(problem, times)).mean
        for times in ([0.0, 0.25, 1.0], [0.5, 0.75, 1.5], [0.0, 1.0])
    )
    assert torch.equal(prediction, later_prediction)
    assert torch.equal(single_frame[:, 1], prediction[:, 2])


@pytest.mark.parametrize("name", NAMES)
def test_other_times_than_those_of_the_frames_are_refused(name: str) -> None:
    problem = problems.grid_problem((16, 17), ("periodic", "dirichlet"))
    surrogate = build(name, problem)
    cases = (
        ([0.0, 0.3], r"0\.3 is not a multiple of the surrogate's time step 0\.25"),
        ([0.5, 2.5, 2.75], r"2\.75 is 9 time steps .* after the start 0\.5.*predicts 8 steps"),
        ([0.0, 0.5, 0.5], "do not increase"),
    )
    for times, message in cases:
        with pytest.raises(ValueError, match=message):
            surrogate.predict(**arguments_of(problem, times))
    arguments = arguments_of(problem, [0.0, 0.25])
    with pytest.raises(ValueError, match="8 frames in one pass and has no step"):
        surrogate.step(arguments["initial_state"], arguments["parameters"])


@pytest.mark.parametrize("name", NAMES)
def test_windows_that_are_not_whole_trajectories_are_refused(name: str) -> None:
    problem = problems.grid_problem((16, 17), ("periodic", "dirichlet"))
    surrogate = build(name, problem)
    message = r"training\.unroll=1 makes windows of 1 steps.*predicts 8 steps.*Type training\.unroll=8"
    with pytest.raises(ValueError, match=message):
        option_checks.check(surrogate, read_settings().training)
    option_checks.check(surrogate, read_settings("training.unroll=8").training)
    with pytest.raises(ValueError, match=r"2 frames after the first.*8 frames.*training\.unroll=8"):
        surrogate(windows(problem, frames=3))


def test_the_scale_of_a_change_grows_with_time_up_to_that_of_independent_states() -> None:
    # The standard deviations of the states are 10 and 2000, and those of their changes 1 and 500.
    surrogate = build("fno", problems.grid_problem((16,), ("periodic",)))
    scales = surrogate.frame_scale
    torch.testing.assert_close(scales[:, 0], 0.1 * torch.arange(1.0, 9.0, dtype=torch.float64))
    torch.testing.assert_close(scales[:5, 1], 0.25 * torch.arange(1.0, 6.0, dtype=torch.float64))
    torch.testing.assert_close(scales[5:, 1], torch.full((3,), math.sqrt(2), dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_mean_and_walls_are_exact_in_every_frame(name: str) -> None:
    fields = (Field("temperature", "K", "", conserved=True), Field("pressure", "Pa", ""))
    closed_problem = problems.grid_problem((16, 17), ("periodic", "neumann"), fields=fields)
    arguments = arguments_of(closed_problem, np.arange(NUM_STEPS + 1) * 0.25)  # type: ignore[arg-type]
    means = build(name, closed_problem, constraints=["mean"]).predict(**arguments).mean.mean((-2, -1))
    torch.testing.assert_close(means[:, :, 0], means[:, :1, 0].expand(-1, NUM_STEPS + 1), rtol=1e-13, atol=0)
    assert (means[:, 1:, 1] - means[:, :1, 1]).abs().min() > 1e-3
    problem = problems.grid_problem(
        (16, 17), ("periodic", "dirichlet"), boundary_values=((0.0, 0.0), (290.0, 290.0))
    )
    arguments = arguments_of(problem, np.arange(NUM_STEPS + 1) * 0.25)  # type: ignore[arg-type]
    later = build(name, problem, constraints=["boundary"]).predict(**arguments).mean[:, 1:]
    first, second, third = (later[..., index] for index in range(3))
    walls = (15 * first - 10 * second + 3 * third) / 8
    torch.testing.assert_close(walls, torch.full_like(walls, 290.0), rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_surrogate_of_all_frames_predicts_the_same(name: str, tmp_path: Path) -> None:
    problem = problems.grid_problem((16, 17), ("periodic", "dirichlet"), autonomous=False)
    surrogate = build(name, problem, "float32")
    store.save(tmp_path, surrogate, name, problems.options(name) | OPTIONS, {})
    arguments = arguments_of(problem, [0.0, 0.25, 2.0])
    loaded_surrogate = surrogates.load(tmp_path)
    assert torch.equal(loaded_surrogate.predict(**arguments).mean, surrogate.predict(**arguments).mean)


def test_the_fno_of_all_frames_learns_decaying_waves() -> None:
    # u_t = k u_xx on a periodic axis, with k as the parameter: amplitudes decay as exp(-k m² t).
    statistics = problems.grid_problem((16,), ("periodic",)).statistics
    problem = problems.grid_problem((16,), ("periodic",))
    surrogate = build("fno", problem, "float32", width=16, modes=4, layers=2)
    rng = np.random.default_rng(0)
    x, time = 2 * np.pi * (np.arange(16) + 0.5) / 16, np.arange(NUM_STEPS + 1) * 0.25
    waves = np.arange(1, 4)[:, None, None]
    mean, std = (np.array(values)[:, None] for values in (statistics.mean, statistics.std))

    def trajectories(count: int) -> Batch:
        amplitudes, phases = rng.normal(size=(2, 2, count, 3, 1, 1))
        diffusivity = rng.uniform(1, 3, (count, 1, 1, 1))
        decay = np.exp(-0.05 * diffusivity * waves**2 * time[:, None])
        states = np.stack((amplitudes * decay * np.cos(waves * x + phases)).sum(axis=2), axis=2)
        return {
            "state": torch.tensor(states * std + mean, dtype=torch.float32),
            "coefficient_fields": torch.full((count, 1, 16), 2.0),
            "parameters": torch.tensor(diffusivity[:, 0, 0], dtype=torch.float32),
            "time": torch.tensor(time, dtype=torch.float32).expand(count, -1),
        }

    optimiser = torch.optim.Adam(surrogate.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=300)
    for _ in range(300):
        optimiser.zero_grad()
        surrogate(trajectories(32))["rollout"].backward()
        optimiser.step()
        schedule.step()
    test_windows = trajectories(64)
    parameters = problems.parameters_by_name(problem, test_windows)
    prediction = surrogate.predict(test_windows["state"][:, 0], parameters, time).mean
    error = (prediction - test_windows["state"])[:, 1:].norm(dim=-1) / (
        test_windows["state"][:, 1:] - torch.tensor(mean, dtype=torch.float32)
    ).norm(dim=-1)
    assert error.mean() < 0.05
