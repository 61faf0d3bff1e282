"""Refusals and warnings of every surrogate: unsuitable problems, arguments, times and parameters."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import surrogates
from surrogates import store
from surrogates.autoregressive import AutoregressiveSurrogate
from surrogates.contract import (
    ExtrapolationWarning,
    compatible_surrogates,
    surrogate_class,
)
from surrogates.deep_ensemble import Ensemble
from tests.support import problems
from tests.support.surrogate_cases import (
    PROBLEMS,
    build,
    build_cached,
    plain_arguments,
)


def test_an_incompatible_problem_is_refused_with_the_compatible_surrogates(name: str) -> None:
    incompatible = [problem for problem in PROBLEMS if name not in compatible_surrogates(problem)]
    assert incompatible
    for problem in incompatible:
        message = f"surrogate={name} does not fit the {problem.spec.name} data: "
        with pytest.raises(ValueError, match=message):
            build(name, problem)
    assert name in compatible_surrogates(problems.learnable_problem(name))


def test_a_random_forcing_that_is_no_input_is_refused(name: str) -> None:
    problem = problems.learnable_problem(name)
    assert surrogate_class(name).incompatibility(problem) is None
    random_problem = problems.change_problem(problem, deterministic=False)
    assert compatible_surrogates(random_problem) == []
    with pytest.raises(ValueError, match=r"random forcing .* not among the inputs.*that fit: none"):
        build(name, random_problem)


def test_grids_and_particles_have_different_surrogates() -> None:
    grid_data, particle_data = (
        problems.grid_problem((16, 17), ("periodic", "neumann")),
        problems.particle_problem(),
    )
    grid_surrogates, particle_surrogates = (
        set(compatible_surrogates(grid_data)),
        set(compatible_surrogates(particle_data)),
    )
    assert {"fno", "unet"} <= grid_surrogates - particle_surrogates
    assert {"hamiltonian", "mlp"} <= particle_surrogates - grid_surrogates
    with pytest.raises(ValueError, match=r"3 particles.*Surrogates that fit: .*hamiltonian, mlp"):
        build("fno", particle_data)
    with pytest.raises(ValueError, match=r"two particles or more.*Surrogates that fit: .*fno, .*unet"):
        build("hamiltonian", grid_data)


@pytest.mark.parametrize(("last_time", "is_inside"), [(2.0, True), (2.25, False)])
def test_times_outside_the_training_duration_are_reported(
    name: str, last_time: float, is_inside: bool
) -> None:
    candidates = [
        *(problems.learnable_problem(name, autonomous) for autonomous in (True, False)),
        problems.fading_problem(),
    ]
    single_surrogates = [
        build_cached(name, problem)
        for problem in candidates
        if surrogate_class(name).incompatibility(problem) is None
    ]
    message = r"time=2.25 is outside the duration 0 to 2 .*1 of 2 times"
    for surrogate in (
        *single_surrogates,
        *(Ensemble([single_surrogate]) for single_surrogate in single_surrogates),
    ):
        arguments = plain_arguments(surrogate.problem, times=np.array([last_time - 0.25, last_time]))
        if is_inside or not surrogate.uses_time:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                surrogate.predict(**arguments, strict=True)
            continue
        with pytest.warns(ExtrapolationWarning, match=message):
            surrogate.predict(**arguments)
        with pytest.raises(ValueError, match=message):
            surrogate.predict(**arguments, strict=True)


def test_wrong_arguments_are_refused_with_their_values(name: str) -> None:
    problem = problems.learnable_problem(name)
    surrogate, channels, sites = build_cached(name, problem), len(problem.spec.channels), problem.spec.shape
    (coefficient,), uniform_field = problem.spec.coefficient_channels, np.ones(sites)
    wrong_sites = (*sites[:-1], sites[-1] + 1)
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"initial_state": np.zeros((1, channels, *wrong_sites))},
            re.escape(str((1, channels, *wrong_sites))),
        ),
        ({"initial_state": np.zeros((channels, *sites))}, re.escape(str((channels, *sites)))),
        ({"times": np.array([0.5, 0.25])}, "do not increase"),
        ({"times": np.array([0.0, np.nan])}, "nan"),
        ({"times": np.array(0.0)}, "one axis"),
        ({"parameters": {"power": 1.0}}, f"missing.*{coefficient}"),
        ({"parameters": {"power": 1.0, coefficient: uniform_field, "colour": 1.0}}, "unknown.*colour"),
        ({"parameters": {"power": np.ones(3), coefficient: uniform_field}}, r"'power' has shape \(3,\)"),
        ({"parameters": {"power": 1.0, coefficient: np.ones(wrong_sites)}}, re.escape(str(wrong_sites))),
    ]
    if isinstance(surrogate, AutoregressiveSurrogate):
        cases.append(({"times": np.array([0.0, 0.3])}, r"0\.3 is not a multiple .* time step 0\.25"))
    for change, message in cases:
        with pytest.raises(ValueError, match=message):
            surrogate.predict(**plain_arguments(problem, **change))


@pytest.mark.parametrize(("power", "is_inside"), [(1.0, True), (3.0, True), (0.99, False)])
@pytest.mark.fault(
    "predict gets a parameter outside the training range",
    cause="power=0.99 below the range 1 to 3",
    result="a warning, or an error with strict=True",
    lost="nothing",
)
def test_parameters_outside_the_training_range_are_reported(name: str, power: float, is_inside: bool) -> None:
    problem = problems.learnable_problem(name)
    surrogate = build_cached(name, problem)
    # The values are float32, as in the data. Their rounding errors do not count as outside the range.
    powers = np.array([2.0, power], np.float32) * np.array(1 + 1e-7, np.float32)
    arguments = plain_arguments(
        problem, initial_state=np.zeros((2, len(problem.spec.channels), *problem.spec.shape))
    )
    arguments["parameters"]["power"] = powers
    if is_inside:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            surrogate.predict(**arguments, strict=True)
        return
    message = rf"power={power:g} is outside the range 1 to 3 .*1 of 2 values"
    with pytest.warns(ExtrapolationWarning, match=message) as warning_records:
        assert surrogate.predict(**arguments).mean.shape[:2] == (2, 2)
    assert warning_records[0].filename == __file__
    with pytest.raises(ValueError, match=message):
        surrogate.predict(**arguments, strict=True)


def test_a_loaded_surrogate_reports_parameters_outside_the_training_range(name: str, tmp_path: Path) -> None:
    problem = problems.learnable_problem(name)
    store.save(tmp_path, build_cached(name, problem), name, problems.options(name), {})
    arguments = plain_arguments(problem)
    arguments["parameters"]["power"] = 3.5
    with pytest.warns(ExtrapolationWarning, match="power=3.5 is outside the range 1 to 3"):
        surrogates.load(tmp_path).predict(**arguments)
