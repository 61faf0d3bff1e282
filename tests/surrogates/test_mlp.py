"""The perceptron for particles and for parametric fields: queries, restarts, training and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.config.build import refuse_unused_surrogate_options
from simsurrogate.errors import UserError
from surrogates import store
from surrogates.contract import Batch, Problem, Surrogate
from surrogates.mlp import MLP
from tests.support import problems

HORIZON_STEPS = 4


def build(autonomous: bool = True, **options: int) -> Surrogate:
    torch.manual_seed(0)
    problem = problems.particle_problem(autonomous=autonomous)
    return store.build(
        "mlp",
        {"width": 16, "layers": 2, "horizon_steps": HORIZON_STEPS, "points": 64} | options,
        problem,
        "float64",
    )


def query_inputs(surrogate: Surrogate) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    batch = problems.batch(surrogate.problem, 2, dtype=torch.float64)
    return batch["state"][:, 0], problems.parameters_by_name(surrogate.problem, batch)


def test_predictions_within_the_horizon_vary_and_start_from_the_initial_state() -> None:
    surrogate = build()
    state, parameters = query_inputs(surrogate)
    states = surrogate.predict(state, parameters, np.array([0.0, 1e-9, 0.123, 1.0])).mean
    torch.testing.assert_close(states[:, 1], state, rtol=1e-6, atol=1e-6)
    assert (states[:, 2] - states[:, 3]).norm() > 1e-3 * state.norm()


def test_a_prediction_does_not_depend_on_the_other_times() -> None:
    surrogate = build()
    state, parameters = query_inputs(surrogate)
    times = np.array([0.0, 0.4, 1.0, 1.7, 2.0, 3.1])
    predictions = surrogate.predict(state, parameters, times).mean
    for index, time in enumerate(times[1:], start=1):
        assert torch.equal(
            surrogate.predict(state, parameters, np.array([0.0, time])).mean[:, 1], predictions[:, index]
        )


@pytest.mark.parametrize("autonomous", [True, False])
def test_a_prediction_beyond_the_horizon_restarts_from_a_prediction(autonomous: bool) -> None:
    surrogate = build(autonomous)
    state, parameters = query_inputs(surrogate)
    horizon = HORIZON_STEPS * surrogate.problem.time_step
    state_at_two_horizons = surrogate.predict(state, parameters, np.array([0.0, horizon, 2 * horizon])).mean[
        :, -1
    ]
    restarted_prediction = surrogate.predict(
        state_at_two_horizons, parameters, np.array([2 * horizon, 2.5 * horizon])
    ).mean[:, -1]
    direct_prediction = surrogate.predict(state, parameters, np.array([0.0, 2.5 * horizon])).mean[:, -1]
    torch.testing.assert_close(direct_prediction, restarted_prediction, rtol=1e-12, atol=1e-12)


def test_windows_of_another_length_than_the_horizon_are_refused() -> None:
    surrogate = build()
    batch = problems.batch(surrogate.problem, 2, frames=3, dtype=torch.float64)
    with pytest.raises(UserError, match=r"training\.unroll=2 .* surrogate\.horizon_steps=4"):
        surrogate(batch)


@pytest.mark.parametrize("option", ["width", "layers", "horizon_steps", "points"])
def test_an_option_below_one_is_refused(option: str) -> None:
    with pytest.raises(
        UserError, match=rf"surrogate\.{option}=0 is too small. The smallest allowed value is 1"
    ):
        build(**{option: 0})


def test_the_perceptron_learns_bodies_on_springs() -> None:
    # The bodies are independent oscillators, x'' = -ω² x. One query covers half a period.
    surrogate, omega = build(width=64), np.pi
    time = np.arange(HORIZON_STEPS + 1) * surrogate.problem.time_step
    rng = np.random.default_rng(0)
    statistics = surrogate.problem.statistics
    scale = np.array(statistics.std)[:2, None]

    def windows(count: int) -> Batch:
        x, v = scale * rng.normal(size=(2, count, 1, 2, 3))
        cosine, sine = (np.asarray(f(omega * time))[:, None, None] for f in (np.cos, np.sin))
        states = np.concatenate([x * cosine + v * sine, omega * (v * cosine - x * sine)], axis=2)
        return {
            "state": torch.tensor(states),
            "coefficient_fields": torch.full((count, 1, 3), 1e3, dtype=torch.float64),
            "parameters": torch.full((count, 1), 2.0, dtype=torch.float64),
            "time": torch.tensor(time).expand(count, -1),
        }

    optimiser = torch.optim.Adam(surrogate.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=600)
    for _ in range(600):
        optimiser.zero_grad()
        surrogate(windows(128))["data"].backward()
        optimiser.step()
        schedule.step()
    test_windows = windows(64)
    parameters = problems.parameters_by_name(surrogate.problem, test_windows)
    states = surrogate.predict(test_windows["state"][:, 0], parameters, time).mean
    error = (states - test_windows["state"])[:, 1:].norm() / test_windows["state"][:, 1:].norm()
    persistence_error = (test_windows["state"][:, :1] - test_windows["state"])[:, 1:].norm() / test_windows[
        "state"
    ][:, 1:].norm()
    assert error < persistence_error / 10


def build_on_grid(autonomous: bool = True, **options: int) -> Surrogate:
    torch.manual_seed(0)
    defaults = {"width": 24, "layers": 2, "horizon_steps": HORIZON_STEPS, "points": 10**6} | options
    return store.build("mlp", defaults, problems.fading_problem(autonomous), "float64")


def fading_windows(surrogate: Surrogate, count: int, rng: np.random.Generator, first_frame: int = 0) -> Batch:
    """Return windows of the exact solution of `problems.fading_problem` from the frame `first_frame` on."""
    problem = surrogate.problem
    power = torch.tensor(rng.uniform(1, 3, count))
    time = torch.tensor((first_frame + np.arange(HORIZON_STEPS + 1)) * problem.time_step)
    x, y = ((torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size for size in problem.spec.shape)
    wave = torch.sin(np.pi * x)[:, None] * torch.sin(np.pi / 2 * y)
    states = [
        amplitude * torch.exp(-rate * 2 * 1.25 * np.pi**2 * power[:, None] * time)[..., None, None] * wave
        for amplitude, rate in ((20.0, 0.01), (4e3, 0.02))
    ]
    return {
        "state": torch.stack(states, dim=2),
        "coefficient_fields": torch.full((count, 1, *problem.spec.shape), 2.0, dtype=torch.float64),
        "parameters": power[:, None],
        "time": time.expand(count, -1),
        "random": torch.tensor(rng.random((count, surrogate.num_random))),
    }


def test_the_perceptron_learns_parametric_fields() -> None:
    """Train with 40 random cells of each window, in windows from the first and from later frames."""
    surrogate, rng = build_on_grid(points=40, width=48), np.random.default_rng(0)
    assert surrogate.num_random == 40
    optimiser = torch.optim.Adam(surrogate.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=500)
    for step in range(500):
        optimiser.zero_grad()
        surrogate(fading_windows(surrogate, 8, rng, first_frame=4 * (step % 2)))["data"].backward()
        optimiser.step()
        schedule.step()
    error = persistence_error = 0.0
    for first_frame in (0, 4):
        test_windows = fading_windows(surrogate, 8, rng, first_frame)
        state, truth = test_windows["state"][:, 0], test_windows["state"]
        states = surrogate.predict(
            state,
            problems.parameters_by_name(surrogate.problem, test_windows),
            test_windows["time"][0].numpy(),
        ).mean
        error += (states - truth).square().sum().item()
        persistence_error += (truth[:, :1] - truth).square().sum().item()
    assert error < persistence_error / 10**2


def test_the_mean_loss_over_random_cells_is_the_loss_over_all_cells() -> None:
    surrogate_of_all_cells, surrogate_of_random_cells = build_on_grid(), build_on_grid(points=30)
    surrogate_of_random_cells.load_state_dict(surrogate_of_all_cells.state_dict())
    assert surrogate_of_all_cells.num_random == 0
    rng = np.random.default_rng(0)
    batch = fading_windows(surrogate_of_random_cells, 4, rng)
    losses = []
    for _ in range(300):
        batch["random"] = torch.tensor(rng.random((4, 30)))
        losses.append(surrogate_of_random_cells(batch)["data"].item())
    error = np.std(losses) / len(losses) ** 0.5
    assert abs(np.mean(losses) - surrogate_of_all_cells(batch)["data"].item()) < 4 * error


def test_a_prediction_on_a_grid_depends_on_the_time_since_the_start() -> None:
    surrogate = build_on_grid()
    batch = fading_windows(surrogate, 2, np.random.default_rng(0))
    state, parameters = batch["state"][:, 0], problems.parameters_by_name(surrogate.problem, batch)
    early_prediction = surrogate.predict(state, parameters, np.array([0.0, 0.5])).mean
    late_prediction = surrogate.predict(state, parameters, np.array([1.0, 1.5])).mean
    assert torch.equal(early_prediction[:, 0], late_prediction[:, 0])
    assert not torch.equal(early_prediction[:, 1], late_prediction[:, 1])


def test_fields_that_are_not_parametric_are_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"needs trajectories that are functions of the scalar parameters.*Surrogates that fit: .*fno",
    ):
        store.build("mlp", problems.options("mlp"), problems.grid_problem((16,), ("periodic",)), "float64")


def test_random_cells_are_an_option_of_grids_only() -> None:
    def refuse(points: int, problem: Problem) -> None:
        options = {"name": "mlp", "width": 16, "layers": 2, "horizon_steps": 1, "points": points}
        refuse_unused_surrogate_options(MLP, options, problem)

    problem = problems.particle_problem()
    refuse(512, problem)
    refuse(64, problems.learnable_problem("pinn"))
    with pytest.raises(UserError) as refusal:
        refuse(64, problem)
    assert str(refusal.value) == (
        f"surrogate.points=64 has no effect with the particles of the {problem.spec.name} data. "
        "Only the default of its YAML is accepted. Remove it"
    )
