"""Every surrogate keeps the contract: shapes, units, boundary conditions, refusals, and saving."""

from __future__ import annotations

import dataclasses
import itertools
import re
import warnings
from pathlib import Path

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
CASES = [
    *[problems.problem(problems.SITES[num_axes], boundaries) for num_axes, boundaries in GRIDS],
    *[problems.particles(*sizes) for sizes in ((2, 1), (2, 2), (3, 2), (5, 3))],
    problems.fading(),
    problems.circling(),
]


@pytest.fixture(params=surrogate_names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def built(name: str, problem: Problem, precision: str = "float64") -> Surrogate:
    torch.manual_seed(0)
    return store.build(name, problems.options(name), problem, precision)


@pytest.mark.parametrize(
    ("name", "problem"),
    [(name, problem) for problem in CASES for name in compatible_surrogates(problem)],
    ids=lambda value: (
        value
        if isinstance(value, str)
        else f"{value.spec.shape} {value.spec.boundaries}{' parametric' * value.spec.parametric}"
    ),
)
def test_shapes_and_losses_in_each_dimension(name: str, problem: Problem) -> None:
    surrogate = built(name, problem, "float32")
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
    predicted = surrogate.predict(
        start, problems.parameters_by_name(problem, batch), np.array([0.5, 0.75, 1.25])
    ).mean
    assert predicted.shape == (2, 3, len(problem.spec.channels), *problem.spec.shape)
    assert torch.equal(predicted[:, 0], start)


@pytest.mark.parametrize("name", surrogate_names())
def test_what_a_surrogate_cannot_learn_is_refused_with_those_that_can(name: str) -> None:
    problem = problems.learnable_problem(name)
    others = [one for one in CASES if name not in compatible_surrogates(one)]
    assert others
    for other in others:
        with pytest.raises(ValueError, match=f"surrogate={name} does not fit the {other.spec.name} data: "):
            built(name, other)
    assert name in compatible_surrogates(problem)


def test_fields_and_particles_have_surrogates_of_their_own() -> None:
    grid, bodies = problems.problem((16, 17), ("periodic", "neumann")), problems.particles()
    assert {"fno", "unet"} <= set(compatible_surrogates(grid)).difference(compatible_surrogates(bodies))
    assert {"hamiltonian", "mlp"} <= set(compatible_surrogates(bodies)).difference(
        compatible_surrogates(grid)
    )
    with pytest.raises(ValueError, match=r"3 particles.*Surrogates that fit: .*hamiltonian, mlp"):
        built("fno", bodies)
    with pytest.raises(ValueError, match=r"two particles or more.*Surrogates that fit: .*fno, .*unet"):
        built("hamiltonian", grid)


def test_the_loss_is_a_mean_over_the_batch(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate = built(name, problem)
    whole = problems.batch(problem, size=4, dtype=torch.float64, num_random=surrogate.num_random)
    parts = [{key: value[half] for key, value in whole.items()} for half in (slice(0, 2), slice(2, 4))]
    first, second = (sum(surrogate(part).values()) for part in parts)
    torch.testing.assert_close((first + second) / 2, sum(surrogate(whole).values()), rtol=1e-12, atol=0)


def test_predictions_do_not_depend_on_the_units(name: str) -> None:
    """The same physics in kilopascal and millikelvin, or in millimetres, with the same weights: the same
    answer.
    """
    problem = problems.learnable_problem(name)
    statistics = problem.statistics
    factor = np.array([1e3, 1e3, 1e3, 1e3] if problem.spec.has_particles else [1e3, 1e-3])
    rescaled = {key: tuple(factor * getattr(statistics, key)) for key in ("mean", "std", "delta_std")}
    other = dataclasses.replace(problem, statistics=type(statistics)(**(vars(statistics) | rescaled)))
    one, two = built(name, problem), built(name, other)
    two.load_state_dict(one.state_dict())
    batch = problems.batch(problem, size=2, dtype=torch.float64)
    scale = torch.tensor(factor).view(-1, *[1] * len(problem.spec.shape))
    times = np.array([0.0, 0.25, 0.5])
    in_si = one.predict(batch["state"][:, 0], problems.parameters_by_name(problem, batch), times).mean
    in_other = two.predict(
        batch["state"][:, 0] * scale, problems.parameters_by_name(problem, batch), times
    ).mean
    torch.testing.assert_close(in_other / scale, in_si, rtol=1e-9, atol=0)


def test_predict_answers_what_was_trained(name: str) -> None:
    """Where `predict` is the truth of a window, the loss of this window is 0."""
    problem = problems.learnable_problem(name, autonomous=False)
    surrogate = built(name, problem)
    batch = problems.batch(problem, size=2, dtype=torch.float64, num_random=surrogate.num_random)
    times = batch["time"][0].numpy()
    batch["state"] = surrogate.predict(
        batch["state"][:, 0], problems.parameters_by_name(problem, batch), times
    ).mean
    losses = surrogate(batch)
    # It need not solve the equation.
    assert sum(loss for loss_name, loss in losses.items() if not loss_name.startswith("residual_")) < 1e-9


@pytest.mark.parametrize("autonomous", [True, False])
def test_only_a_system_that_depends_on_time_is_told_the_time(name: str, autonomous: bool) -> None:
    problem = problems.learnable_problem(name, autonomous)
    surrogate = built(name, problem)
    with torch.no_grad():
        for weight in surrogate.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    batch = problems.batch(problem, size=1, dtype=torch.float64)
    start, named = batch["state"][:, 0], problems.parameters_by_name(problem, batch)
    early = surrogate.predict(start, named, np.array([0.0, 0.25])).mean
    late = surrogate.predict(start, named, np.array([1.0, 1.25])).mean
    # What parameters alone determine is one trajectory, at its time; elsewhere the state tells what comes.
    assert torch.equal(early, late) == (problem.spec.autonomous and not problem.spec.parametric)
    assert surrogate.uses_time != torch.equal(early, late)


@pytest.mark.parametrize(("last", "inside"), [(2.0, True), (2.25, False)])
def test_times_outside_the_duration_are_told_or_refused_where_time_is_seen(
    name: str, last: float, inside: bool
) -> None:
    cases = [
        *(problems.learnable_problem(name, autonomous) for autonomous in (True, False)),
        problems.fading(),
    ]
    alone = [
        built(name, problem) for problem in cases if surrogate_class(name).incompatibility(problem) is None
    ]
    said = r"time=2.25 is outside the duration 0 to 2 .*1 of 2 times"
    for surrogate in (*alone, *(Ensemble([one]) for one in alone)):
        arguments = asked(surrogate.problem, times=np.array([last - 0.25, last]))
        if inside or not surrogate.uses_time:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                surrogate.predict(**arguments, strict=True)  # type: ignore[arg-type]
            continue
        with pytest.warns(ExtrapolationWarning, match=said):
            surrogate.predict(**arguments)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=said):
            surrogate.predict(**arguments, strict=True)  # type: ignore[arg-type]


def test_the_change_follows_from_the_state_where_it_is_seen(name: str) -> None:
    cases = (
        problems.learnable_problem(name),
        problems.fading(),
        problems.particles(),
        problems.circling(),
    )
    for problem in (one for one in cases if surrogate_class(name).incompatibility(one) is None):
        surrogate = built(name, problem)
        with torch.no_grad():
            for weight in surrogate.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        batch = problems.batch(problem, size=1, dtype=torch.float64)
        named, times = problems.parameters_by_name(problem, batch), np.array([0.0, 0.25])
        std = torch.tensor(problem.statistics.std).view(-1, *[1] * len(problem.spec.shape))
        start, noise = batch["state"][:, 0], 0.1 * std * batch["state"][:, 1].cos()
        first, second = (
            surrogate.predict(state, named, times).mean.diff(dim=1) / std for state in (start, start + noise)
        )
        assert torch.allclose(first, second, rtol=1e-9, atol=1e-9) != surrogate.uses_initial_state


def test_frames_can_be_left_out(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate = built(name, problem)
    batch = problems.batch(problem, size=2, dtype=torch.float64)
    start, named = batch["state"][:, 0], problems.parameters_by_name(problem, batch)
    dense = surrogate.predict(start, named, np.array([0.0, 0.25, 0.5, 0.75])).mean
    sparse = surrogate.predict(start, named, np.array([0.0, 0.75])).mean
    assert torch.equal(sparse[:, 1], dense[:, 3])


def test_parameters_may_be_shared_by_the_batch(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate = built(name, problem)
    batch = problems.batch(problem, size=2, dtype=torch.float64)
    field = batch["coefficient_fields"][0, 0]
    start, times = batch["state"][:, 0], np.array([0.0, 0.25])
    (coefficient,) = problem.spec.coefficient_channels
    shared = surrogate.predict(start, {coefficient: field, "power": 2.0}, times).mean
    each = surrogate.predict(
        start, {coefficient: torch.stack([field, field]), "power": np.array([2.0, 2.0])}, times
    ).mean
    assert torch.equal(shared, each)


def asked(problem: Problem, **changes: object) -> dict[str, object]:
    """The arguments of `predict` for one case."""
    (coefficient,) = problem.spec.coefficient_channels
    return {
        "initial_state": np.zeros((1, len(problem.spec.channels), *problem.spec.shape)),
        "parameters": {"power": 1.0, coefficient: np.ones(problem.spec.shape)},
        "times": np.array([0.0, 0.25]),
    } | changes


def test_what_does_not_fit_is_refused_with_numbers(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate, channels, sites = built(name, problem), len(problem.spec.channels), problem.spec.shape
    (coefficient,), ones = problem.spec.coefficient_channels, np.ones(sites)
    wrong_sites = (*sites[:-1], sites[-1] + 1)
    cases: list[tuple[dict[str, object], str]] = [
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
        cases.append(({"times": np.array([0.0, 0.3])}, r"0\.3 .* steps of 0\.25"))
    for change, said in cases:
        with pytest.raises(ValueError, match=said):
            surrogate.predict(**asked(problem, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(("power", "inside"), [(1.0, True), (3.0, True), (0.99, False), (np.nan, False)])
def test_a_parameter_outside_the_training_range_is_told_or_refused(
    name: str, power: float, inside: bool, tmp_path: Path
) -> None:
    problem = problems.learnable_problem(name)
    store.save(tmp_path, built(name, problem), name, problems.options(name), {})
    loaded = surrogates.load(tmp_path)
    # As float32 holds it: rounding alone does not lead out of the range.
    powers = np.array([2.0, power], np.float32) * np.array(1 + 1e-7, np.float32)
    arguments = asked(problem, initial_state=np.zeros((2, len(problem.spec.channels), *problem.spec.shape)))
    arguments["parameters"]["power"] = powers  # type: ignore[index]
    if inside:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loaded.predict(**arguments, strict=True)  # type: ignore[arg-type]
        return
    said = rf"power={power:g} is outside the range 1 to 3 .*1 of 2 values"
    with pytest.warns(ExtrapolationWarning, match=said) as caught:
        assert loaded.predict(**arguments).mean.shape[:2] == (2, 2)  # type: ignore[arg-type]
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match=said):
        loaded.predict(**arguments, strict=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_saved_surrogate_predicts_the_same(name: str, precision: str, tmp_path: object) -> None:
    problem = problems.learnable_problem(name, autonomous=False)
    surrogate = built(name, problem, precision)
    store.save(tmp_path, surrogate, name, problems.options(name), {"dataset": "abc"})  # type: ignore[arg-type]
    loaded = surrogates.load(str(tmp_path))
    assert loaded.problem == problem
    assert type(loaded) is surrogate_class(name)
    batch = problems.batch(problem, size=2)
    arguments = (
        batch["state"][:, 0],
        problems.parameters_by_name(problem, batch),
        np.array([0.0, 0.25, 1.0]),
    )
    assert torch.equal(loaded.predict(*arguments).mean, surrogate.predict(*arguments).mean)


def test_a_field_that_never_varies_does_no_harm(name: str) -> None:
    problem = problems.learnable_problem(name)
    flat = {key: (0.0,) * len(value) for key, value in vars(problem.statistics).items() if "std" in key}
    constant = type(problem.statistics)(**(vars(problem.statistics) | flat))
    problem = dataclasses.replace(problem, statistics=constant)
    surrogate = built(name, problem)
    batch = problems.batch(problem, size=1, dtype=torch.float64, num_random=surrogate.num_random)
    assert torch.isfinite(sum(surrogate(batch).values()))  # type: ignore[arg-type]
