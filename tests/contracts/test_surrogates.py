"""Every surrogate keeps the contract: shapes, units, boundary conditions, refusals, saving and loading."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import surrogates
from surrogates import store
from surrogates.autoregressive import AutoregressiveSurrogate
from surrogates.contract import (
    ExtrapolationWarning,
    Problem,
    Surrogate,
    compatible_surrogates,
    surrogate_class,
    surrogate_names,
)
from surrogates.deep_ensemble import Ensemble
from tests.support import problems

GRIDS = [
    *[(1, (boundary,)) for boundary in problems.BOUNDARIES],
    *[(2, pair) for pair in itertools.product(problems.BOUNDARIES, repeat=2)],
    (3, ("periodic", "dirichlet", "neumann")),
]
PROBLEMS = [
    *[problems.problem(problems.SITES[num_axes], boundaries) for num_axes, boundaries in GRIDS],
    *[problems.particles(*sizes) for sizes in ((2, 1), (2, 2), (3, 2), (5, 3))],
    problems.fading(),
    problems.circling(),
]
AUTOREGRESSIVE = [
    name for name in surrogate_names() if issubclass(surrogate_class(name), AutoregressiveSurrogate)
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread, because the tensors of these tests are too small for several."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(params=surrogate_names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@functools.cache
def build_cached(name: str, problem: Problem, precision: str = "float64") -> Surrogate:
    """Return a surrogate with seeded weights. Tests share it and must not change it."""
    return build(name, problem, precision)


def build(name: str, problem: Problem, precision: str = "float64") -> Surrogate:
    torch.manual_seed(0)
    return store.build(name, problems.options(name), problem, precision)


def build_perturbed(name: str, problem: Problem) -> Surrogate:
    """Return a surrogate in which every weight is nonzero."""
    surrogate = build(name, problem)
    with torch.no_grad():
        for weight in surrogate.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return surrogate


def arguments_of(problem: Problem, times: list[float], size: int = 2) -> dict[str, Any]:
    """Return the arguments of `predict` for random windows."""
    batch = problems.batch(problem, size, dtype=torch.float64)
    return {
        "initial_state": batch["state"][:, 0],
        "parameters": problems.parameters_by_name(problem, batch),
        "times": np.array(times),
    }


def plain_arguments(problem: Problem, **changes: Any) -> dict[str, Any]:
    """Return the arguments of `predict` for one case, all within the range of the training data."""
    (coefficient,) = problem.spec.coefficient_channels
    return {
        "initial_state": np.zeros((1, len(problem.spec.channels), *problem.spec.shape)),
        "parameters": {"power": 1.0, coefficient: np.ones(problem.spec.shape)},
        "times": np.array([0.0, 0.25]),
    } | changes


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
def test_shapes_and_losses_in_each_dimension(name: str, problem: Problem) -> None:
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


def test_an_incompatible_problem_is_refused_with_the_compatible_surrogates(name: str) -> None:
    incompatible = [problem for problem in PROBLEMS if name not in compatible_surrogates(problem)]
    assert incompatible
    for problem in incompatible:
        message = f"surrogate={name} does not fit the {problem.spec.name} data: "
        with pytest.raises(ValueError, match=message):
            build(name, problem)
    assert name in compatible_surrogates(problems.learnable_problem(name))


def test_grids_and_particles_have_different_surrogates() -> None:
    grid, bodies = problems.problem((16, 17), ("periodic", "neumann")), problems.particles()
    of_grid, of_bodies = set(compatible_surrogates(grid)), set(compatible_surrogates(bodies))
    assert {"fno", "unet"} <= of_grid - of_bodies
    assert {"hamiltonian", "mlp"} <= of_bodies - of_grid
    with pytest.raises(ValueError, match=r"3 particles.*Surrogates that fit: .*hamiltonian, mlp"):
        build("fno", bodies)
    with pytest.raises(ValueError, match=r"two particles or more.*Surrogates that fit: .*fno, .*unet"):
        build("hamiltonian", grid)


def test_the_loss_is_a_mean_over_the_batch(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate = build_cached(name, problem)
    batch = problems.batch(problem, size=4, dtype=torch.float64, num_random=surrogate.num_random)
    halves = [{key: value[half] for key, value in batch.items()} for half in (slice(0, 2), slice(2, 4))]
    first, second = (sum(surrogate(half).values()) for half in halves)
    torch.testing.assert_close((first + second) / 2, sum(surrogate(batch).values()), rtol=1e-12, atol=0)


def test_predictions_do_not_depend_on_the_units(name: str) -> None:
    """The same weights predict the same physics in kilopascal and millikelvin, or in millimetres."""
    problem = problems.learnable_problem(name)
    statistics = problem.statistics
    factor = np.array([1e3, 1e3, 1e3, 1e3] if problem.spec.has_particles else [1e3, 1e-3])
    rescaled = {key: tuple(factor * getattr(statistics, key)) for key in ("mean", "std", "delta_std")}
    rescaled_problem = dataclasses.replace(problem, statistics=dataclasses.replace(statistics, **rescaled))
    surrogate, rescaled_surrogate = build_cached(name, problem), build(name, rescaled_problem)
    rescaled_surrogate.load_state_dict(surrogate.state_dict())
    arguments = arguments_of(problem, [0.0, 0.25, 0.5])
    in_si = surrogate.predict(**arguments).mean
    scale = torch.tensor(factor).view(-1, *[1] * len(problem.spec.shape))
    arguments["initial_state"] = arguments["initial_state"] * scale
    in_other_units = rescaled_surrogate.predict(**arguments).mean
    torch.testing.assert_close(in_other_units / scale, in_si, rtol=1e-9, atol=0)


def test_the_loss_of_a_window_that_predict_returns_is_zero(name: str) -> None:
    problem = problems.learnable_problem(name, autonomous=False)
    surrogate = build_cached(name, problem)
    batch = problems.batch(problem, size=2, dtype=torch.float64, num_random=surrogate.num_random)
    times = batch["time"][0].numpy()
    parameters = problems.parameters_by_name(problem, batch)
    batch["state"] = surrogate.predict(batch["state"][:, 0], parameters, times).mean
    losses = surrogate(batch)
    # The window need not solve the equation.
    assert sum(loss for key, loss in losses.items() if not key.startswith("residual_")) < 1e-9


@pytest.mark.parametrize("autonomous", [True, False])
def test_predictions_depend_on_the_time_of_non_autonomous_problems_alone(name: str, autonomous: bool) -> None:
    problem = problems.learnable_problem(name, autonomous)
    surrogate = build_perturbed(name, problem)
    arguments = arguments_of(problem, [0.0, 0.25], size=1)
    early = surrogate.predict(**arguments).mean
    late = surrogate.predict(**arguments | {"times": np.array([1.0, 1.25])}).mean
    # On a parametric problem the parameters determine one trajectory, and a prediction depends on the time.
    assert torch.equal(early, late) == (problem.spec.autonomous and not problem.spec.parametric)
    assert surrogate.uses_time != torch.equal(early, late)


@pytest.mark.parametrize(("last", "inside"), [(2.0, True), (2.25, False)])
def test_times_outside_the_training_duration_are_reported(name: str, last: float, inside: bool) -> None:
    candidates = [
        *(problems.learnable_problem(name, autonomous) for autonomous in (True, False)),
        problems.fading(),
    ]
    singles = [
        build_cached(name, problem)
        for problem in candidates
        if surrogate_class(name).incompatibility(problem) is None
    ]
    message = r"time=2.25 is outside the duration 0 to 2 .*1 of 2 times"
    for surrogate in (*singles, *(Ensemble([single]) for single in singles)):
        arguments = plain_arguments(surrogate.problem, times=np.array([last - 0.25, last]))
        if inside or not surrogate.uses_time:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                surrogate.predict(**arguments, strict=True)
            continue
        with pytest.warns(ExtrapolationWarning, match=message):
            surrogate.predict(**arguments)
        with pytest.raises(ValueError, match=message):
            surrogate.predict(**arguments, strict=True)


def test_the_change_depends_on_the_initial_state_if_it_is_used(name: str) -> None:
    candidates = (
        problems.learnable_problem(name),
        problems.fading(),
        problems.particles(),
        problems.circling(),
    )
    for problem in candidates:
        if surrogate_class(name).incompatibility(problem) is not None:
            continue
        surrogate = build_perturbed(name, problem)
        arguments = arguments_of(problem, [0.0, 0.25], size=1)
        start = arguments.pop("initial_state")
        std = torch.tensor(problem.statistics.std).view(-1, *[1] * len(problem.spec.shape))
        noise = 0.1 * std * torch.randn(start.shape, generator=torch.Generator().manual_seed(1))
        first, second = (
            surrogate.predict(state, **arguments).mean.diff(dim=1) / std for state in (start, start + noise)
        )
        assert torch.allclose(first, second, rtol=1e-9, atol=1e-9) != surrogate.uses_initial_state


def test_frames_can_be_left_out(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate = build_cached(name, problem)
    arguments = arguments_of(problem, [0.0, 0.25, 0.5, 0.75])
    dense = surrogate.predict(**arguments).mean
    sparse = surrogate.predict(**arguments | {"times": np.array([0.0, 0.75])}).mean
    assert torch.equal(sparse[:, 1], dense[:, 3])


def test_the_cases_of_a_batch_may_share_parameters(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate = build_cached(name, problem)
    (coefficient,) = problem.spec.coefficient_channels
    arguments = arguments_of(problem, [0.0, 0.25])
    field = arguments["parameters"][coefficient][0]
    shared = {coefficient: field, "power": 2.0}
    repeated = {coefficient: torch.stack([field, field]), "power": np.array([2.0, 2.0])}
    first, second = (
        surrogate.predict(**arguments | {"parameters": parameters}).mean for parameters in (shared, repeated)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("autonomous", [True, False])
@pytest.mark.parametrize("name", AUTOREGRESSIVE)
def test_two_steps_are_a_rollout_over_two_steps(name: str, autonomous: bool) -> None:
    problem = problems.learnable_problem(name, autonomous)
    surrogate = build_cached(name, problem)
    assert isinstance(surrogate, AutoregressiveSurrogate)
    arguments = arguments_of(problem, [0.5, 0.75, 1.0])
    state, conditions = arguments["initial_state"].requires_grad_(), arguments["parameters"]
    first = surrogate.step(state, conditions, 0.5)
    second = surrogate.step(first, conditions, 0.75)
    expected = surrogate.predict(**arguments).mean
    assert torch.equal(first, expected[:, 1])
    torch.testing.assert_close(second, expected[:, 2], rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(second.sum(), state)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0


def test_wrong_arguments_are_refused_with_numbers(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate, channels, sites = build_cached(name, problem), len(problem.spec.channels), problem.spec.shape
    (coefficient,), ones = problem.spec.coefficient_channels, np.ones(sites)
    wrong_sites = (*sites[:-1], sites[-1] + 1)
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"initial_state": np.zeros((1, channels, *wrong_sites))},
            re.escape(str((1, channels, *wrong_sites))),
        ),
        ({"initial_state": np.zeros((channels, *sites))}, re.escape(str((channels, *sites)))),
        ({"times": np.array([0.5, 0.25])}, "must increase"),
        ({"times": np.array([0.0, np.nan])}, "nan"),
        ({"times": np.array(0.0)}, "one axis"),
        ({"parameters": {"power": 1.0}}, f"missing.*{coefficient}"),
        ({"parameters": {"power": 1.0, coefficient: ones, "colour": 1.0}}, "unknown.*colour"),
        ({"parameters": {"power": np.ones(3), coefficient: ones}}, r"'power' has shape \(3,\)"),
        ({"parameters": {"power": 1.0, coefficient: np.ones(wrong_sites)}}, re.escape(str(wrong_sites))),
    ]
    if isinstance(surrogate, AutoregressiveSurrogate):
        cases.append(({"times": np.array([0.0, 0.3])}, r"0\.3 is not a multiple .* time step 0\.25"))
    for change, message in cases:
        with pytest.raises(ValueError, match=message):
            surrogate.predict(**plain_arguments(problem, **change))


@pytest.mark.parametrize(("power", "inside"), [(1.0, True), (3.0, True), (0.99, False), (np.nan, False)])
def test_parameters_outside_the_training_range_are_reported(name: str, power: float, inside: bool) -> None:
    problem = problems.learnable_problem(name)
    surrogate = build_cached(name, problem)
    # The values are float32, as in the data. Their rounding errors do not lead out of the range.
    powers = np.array([2.0, power], np.float32) * np.array(1 + 1e-7, np.float32)
    arguments = plain_arguments(
        problem, initial_state=np.zeros((2, len(problem.spec.channels), *problem.spec.shape))
    )
    arguments["parameters"]["power"] = powers
    if inside:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            surrogate.predict(**arguments, strict=True)
        return
    message = rf"power={power:g} is outside the range 1 to 3 .*1 of 2 values"
    with pytest.warns(ExtrapolationWarning, match=message) as caught:
        assert surrogate.predict(**arguments).mean.shape[:2] == (2, 2)
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match=message):
        surrogate.predict(**arguments, strict=True)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_saved_surrogate_predicts_the_same(name: str, precision: str, tmp_path: Path) -> None:
    problem = problems.learnable_problem(name, autonomous=False)
    surrogate = build_cached(name, problem, precision)
    store.save(tmp_path, surrogate, name, problems.options(name), {"dataset": "abc"})
    loaded = surrogates.load(str(tmp_path))
    assert loaded.problem == problem
    assert type(loaded) is surrogate_class(name)
    assert f"{type(loaded).__name__} for {problem.spec.name}: " in repr(loaded)
    assert (", trained" in repr(loaded), ", not trained" in repr(surrogate)) == (True, True)
    arguments = arguments_of(problem, [0.0, 0.25, 1.0])
    assert torch.equal(loaded.predict(**arguments).mean, surrogate.predict(**arguments).mean)


def test_a_loaded_surrogate_reports_parameters_outside_the_training_range(name: str, tmp_path: Path) -> None:
    problem = problems.learnable_problem(name)
    store.save(tmp_path, build_cached(name, problem), name, problems.options(name), {})
    arguments = plain_arguments(problem)
    arguments["parameters"]["power"] = 3.5
    with pytest.warns(ExtrapolationWarning, match="power=3.5 is outside the range 1 to 3"):
        surrogates.load(tmp_path).predict(**arguments)


def test_a_field_that_never_varies_has_a_finite_loss(name: str) -> None:
    problem = problems.learnable_problem(name)
    zeros = {key: (0.0,) * len(value) for key, value in vars(problem.statistics).items() if "std" in key}
    problem = dataclasses.replace(problem, statistics=dataclasses.replace(problem.statistics, **zeros))
    surrogate = build(name, problem)
    batch = problems.batch(problem, size=1, dtype=torch.float64, num_random=surrogate.num_random)
    assert torch.isfinite(sum(surrogate(batch).values()))  # type: ignore[arg-type]
