"""The contract of every surrogate: shapes, units, losses, gradients, saving and loading."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import surrogates
from pipeline.training.fine_tuning import keep_weights, merge_adapters
from simsurrogate.errors import UserError
from surrogates import store
from surrogates.autoregressive import AutoregressiveSurrogate
from surrogates.contract import (
    Problem,
    compatible_surrogates,
    surrogate_class,
    surrogate_names,
)
from tests.support import problems
from tests.support.surrogate_cases import (
    PROBLEMS,
    arguments_of,
    build,
    build_cached,
    build_perturbed,
)
from tests.support.trainings.training_cases import read_settings

AUTOREGRESSIVE_NAMES = [
    name for name in surrogate_names() if issubclass(surrogate_class(name), AutoregressiveSurrogate)
]


def describe(value: Any) -> str:
    if not isinstance(value, Problem):
        return str(value)
    spec = value.spec
    return f"{'x'.join(map(str, spec.shape))}-{'-'.join(spec.boundaries)}{'-parametric' * spec.parametric}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [(name, problem) for problem in PROBLEMS for name in compatible_surrogates(problem)],
    ids=describe,
)
def test_losses_and_predictions_have_the_declared_names_and_shapes(name: str, problem: Problem) -> None:
    surrogate = build(name, problem, "float32")
    batch = problems.batch(problem, size=2, num_random=surrogate.num_random)
    losses = surrogate(batch)
    assert tuple(losses) == surrogate.losses
    assert losses
    for loss in losses.values():
        assert loss.shape == ()
        assert torch.isfinite(loss)
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(weight.grad is not None for weight in surrogate.parameters())
    start = batch["state"][:, 0]
    parameters = problems.parameters_by_name(problem, batch)
    prediction = surrogate.predict(start, parameters, np.array([0.5, 0.75, 1.25]))
    assert prediction.mean.shape == (2, 3, len(problem.spec.channels), *problem.spec.shape)
    assert torch.equal(prediction.mean[:, 0], start)
    assert prediction.standard_deviation is prediction.members is None


def test_the_loss_is_a_mean_over_the_batch(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate = build_cached(name, problem)
    batch = problems.batch(problem, size=4, dtype=torch.float64, num_random=surrogate.num_random)
    halves = [{key: value[half] for key, value in batch.items()} for half in (slice(0, 2), slice(2, 4))]
    first_loss, second_loss = (sum(surrogate(half).values()) for half in halves)
    torch.testing.assert_close(
        (first_loss + second_loss) / 2, sum(surrogate(batch).values()), rtol=1e-12, atol=0
    )


def test_predictions_do_not_depend_on_the_units(name: str) -> None:
    # The same weights predict the same physics in kilopascal and millikelvin, or in millimetres.
    problem = problems.learnable_problem(name)
    statistics = problem.statistics
    factors = np.array([1e3, 1e3, 1e3, 1e3] if problem.spec.has_particles else [1e3, 1e-3])
    rescaled_statistics = {
        key: tuple(factors * getattr(statistics, key)) for key in ("mean", "std", "delta_std")
    }
    rescaled_problem = dataclasses.replace(
        problem, statistics=dataclasses.replace(statistics, **rescaled_statistics)
    )
    surrogate, rescaled_surrogate = build_cached(name, problem), build(name, rescaled_problem)
    rescaled_surrogate.load_state_dict(surrogate.state_dict())
    arguments = arguments_of(problem, [0.0, 0.25, 0.5])
    prediction_in_si = surrogate.predict(**arguments).mean
    scale = torch.tensor(factors).view(-1, *[1] * len(problem.spec.shape))
    arguments["initial_state"] = arguments["initial_state"] * scale
    rescaled_prediction = rescaled_surrogate.predict(**arguments).mean
    torch.testing.assert_close(rescaled_prediction / scale, prediction_in_si, rtol=1e-9, atol=0)


def test_the_loss_of_a_window_that_predict_returns_is_zero(name: str) -> None:
    problem = problems.learnable_problem(name, autonomous=False)
    surrogate = build_cached(name, problem)
    batch = problems.batch(problem, size=2, dtype=torch.float64, num_random=surrogate.num_random)
    times = batch["time"][0].numpy()
    parameters = problems.parameters_by_name(problem, batch)
    batch["state"] = surrogate.predict(batch["state"][:, 0], parameters, times).mean
    losses = surrogate(batch)
    # The residual losses are excluded, because the window need not solve the equation, and so is the loss of
    # a predicted standard deviation, which is not 0.
    names = [key for key in losses if not key.startswith("residual_") and key != "deviation"]
    assert sum(losses[key] for key in names) < 1e-9


@pytest.mark.parametrize("autonomous", [True, False])
def test_predictions_depend_on_the_time_only_for_non_autonomous_problems(name: str, autonomous: bool) -> None:
    problem = problems.learnable_problem(name, autonomous)
    surrogate = build_perturbed(name, problem)
    arguments = arguments_of(problem, [0.0, 0.25], size=1)
    early_prediction = surrogate.predict(**arguments).mean
    late_prediction = surrogate.predict(**arguments | {"times": np.array([1.0, 1.25])}).mean
    # A parametric problem has one trajectory for its parameters, so the prediction depends on the time.
    assert torch.equal(early_prediction, late_prediction) == (
        problem.spec.autonomous and not problem.spec.parametric
    )
    assert surrogate.uses_time != torch.equal(early_prediction, late_prediction)


def test_the_change_depends_on_a_used_initial_state(name: str) -> None:
    candidates = (
        problems.learnable_problem(name),
        problems.fading_problem(),
        problems.particle_problem(),
        problems.circling_problem(),
    )
    for problem in candidates:
        if surrogate_class(name).incompatibility(problem) is not None:
            continue
        surrogate = build_perturbed(name, problem)
        arguments = arguments_of(problem, [0.0, 0.25], size=1)
        start = arguments.pop("initial_state")
        std = torch.tensor(problem.statistics.std).view(-1, *[1] * len(problem.spec.shape))
        noise = 0.1 * std * torch.randn(start.shape, generator=torch.Generator().manual_seed(1))
        change, perturbed_change = (
            surrogate.predict(state, **arguments).mean.diff(dim=1) / std for state in (start, start + noise)
        )
        is_independent = torch.allclose(change, perturbed_change, rtol=1e-9, atol=1e-9)
        # A prediction may also replace the initial state instead of adding a change to it.
        later, perturbed_later = (
            surrogate.predict(state, **arguments).mean[:, 1:] / std for state in (start, start + noise)
        )
        is_independent |= torch.allclose(later, perturbed_later, rtol=1e-9, atol=1e-9)
        assert is_independent != surrogate.uses_initial_state


def test_predictions_can_skip_frames(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate = build_cached(name, problem)
    arguments = arguments_of(problem, [0.0, 0.25, 0.5, 0.75])
    prediction_of_all_times = surrogate.predict(**arguments).mean
    prediction_of_two_times = surrogate.predict(**arguments | {"times": np.array([0.0, 0.75])}).mean
    # A product that computes several times has other rounding than the product for a single time.
    torch.testing.assert_close(
        prediction_of_two_times[:, 1], prediction_of_all_times[:, 3], rtol=1e-12, atol=0
    )


def test_the_cases_of_a_batch_may_share_parameters(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate = build_cached(name, problem)
    (coefficient,) = problem.spec.coefficient_channels
    arguments = arguments_of(problem, [0.0, 0.25])
    field = arguments["parameters"][coefficient][0]
    shared_parameters = {coefficient: field, "power": 2.0}
    repeated_parameters = {coefficient: torch.stack([field, field]), "power": np.array([2.0, 2.0])}
    first_prediction, second_prediction = (
        surrogate.predict(**arguments | {"parameters": parameters}).mean
        for parameters in (shared_parameters, repeated_parameters)
    )
    assert torch.equal(first_prediction, second_prediction)


@pytest.mark.parametrize("autonomous", [True, False])
@pytest.mark.parametrize("name", AUTOREGRESSIVE_NAMES)
def test_two_calls_of_step_equal_a_rollout_over_two_steps(name: str, autonomous: bool) -> None:
    problem = problems.learnable_problem(name, autonomous)
    surrogate = build_cached(name, problem)
    assert isinstance(surrogate, AutoregressiveSurrogate)
    arguments = arguments_of(problem, [0.5, 0.75, 1.0])
    state, conditions = arguments["initial_state"].requires_grad_(), arguments["parameters"]
    first_state = surrogate.step(state, conditions, 0.5)
    second_state = surrogate.step(first_state, conditions, 0.75)
    expected = surrogate.predict(**arguments).mean
    # `predict` computes without gradients, in another order.
    torch.testing.assert_close(first_state, expected[:, 1], rtol=1e-12, atol=0)
    torch.testing.assert_close(second_state, expected[:, 2], rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(second_state.sum(), state)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_saved_surrogate_predicts_the_same(name: str, precision: str, tmp_path: Path) -> None:
    problem = problems.learnable_problem(name, autonomous=False)
    surrogate = build_cached(name, problem, precision)
    store.save(tmp_path, surrogate, name, problems.options(name), {"dataset": "abc"})
    loaded_surrogate = surrogates.load(str(tmp_path))
    assert loaded_surrogate.problem == problem
    assert type(loaded_surrogate) is surrogate_class(name)
    assert f"{type(loaded_surrogate).__name__} for {problem.spec.name}: " in repr(loaded_surrogate)
    assert (", trained" in repr(loaded_surrogate), ", not trained" in repr(surrogate)) == (True, True)
    arguments = arguments_of(problem, [0.0, 0.25, 1.0])
    assert torch.equal(loaded_surrogate.predict(**arguments).mean, surrogate.predict(**arguments).mean)


def test_a_constant_field_has_a_finite_loss(name: str) -> None:
    problem = problems.learnable_problem(name)
    zero_deviations = {
        key: (0.0,) * len(value) for key, value in vars(problem.statistics).items() if "std" in key
    }
    problem = dataclasses.replace(
        problem, statistics=dataclasses.replace(problem.statistics, **zero_deviations)
    )
    surrogate = build(name, problem)
    batch = problems.batch(problem, size=1, dtype=torch.float64, num_random=surrogate.num_random)
    assert torch.isfinite(sum(surrogate(batch).values()))  # type: ignore[arg-type]


def test_adapters_keep_the_losses_and_only_they_have_gradients(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate = build_perturbed(name, problem)
    batch = problems.batch(problem, size=2, dtype=torch.float64, num_random=surrogate.num_random)
    losses, first_weights = surrogate(batch), copy.deepcopy(surrogate.state_dict())
    options = read_settings("training.start_from=m", "training.adapter_rank=1").training
    if all(weight.ndim < 2 or 1 in weight.shape for weight in surrogate.parameters()):
        with pytest.raises(UserError, match="no adapter would have fewer values than its weight"):
            keep_weights(surrogate, options)
        pytest.skip("no weight has more values than an adapter")
    keep_weights(surrogate, options)
    adapted_losses = surrogate(batch)
    for key, loss in losses.items():
        torch.testing.assert_close(adapted_losses[key], loss, rtol=1e-12, atol=0)
    torch.stack(list(adapted_losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    gradients = {key: weight.grad for key, weight in surrogate.named_parameters() if weight.requires_grad}
    assert all(key.endswith((".left", ".right")) for key in gradients)
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients.values())
    merge_adapters(surrogate)
    assert surrogate.state_dict().keys() == first_weights.keys()
    for key, weight in first_weights.items():
        assert torch.equal(surrogate.state_dict()[key], weight)
