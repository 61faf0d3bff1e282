"""The draws of every solver: parameters in their ranges, determined by the index, and a second accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from solvers.batches import BatchedSolver
from solvers.contract import Solver
from solvers.contract_checks import draws, solutions
from solvers.nbody import NBody
from tests.support.solver_cases import Case, all_cases


@pytest.fixture(scope="module", params=all_cases(), ids=str)
def solver(request: pytest.FixtureRequest) -> Solver:
    assert isinstance(request.param, Case)
    return request.param.build()


def test_samples_are_floats_in_range_and_arrays_of_fixed_shape(solver: Solver) -> None:
    # Three bodies at rest have no outside.
    is_without_outside = isinstance(solver, NBody) and "second_x" in solver.spec.parameter_names
    assert list(draws.samples(solver, has_outside=not is_without_outside)) == []


def test_only_the_generator_determines_the_parameters(solver: Solver) -> None:
    assert list(draws.seeds(solver)) == []


def test_a_chaotic_solver_has_another_accuracy(solver: Solver) -> None:
    if not solver.spec.chaotic:
        return
    parameters = solver.sample(np.random.default_rng(7))
    second_solver, share = solver.with_other_accuracy()
    assert 0 < share < 2
    assert (second_solver.spec, second_solver.block) == (solver.spec, solver.block)
    assert isinstance(second_solver, BatchedSolver) is isinstance(solver, BatchedSolver)
    times = np.array([0.0, 0.1 * solver.time_scale])
    states, second_states = (
        np.array(list(s.prepare(parameters).solve(times))) for s in (solver, second_solver)
    )
    np.testing.assert_array_equal(states[0], second_states[0])
    difference = np.linalg.norm(second_states[1] - states[1]) / np.linalg.norm(states[1])
    assert 0 < difference < 1e-3


def test_different_seeds_have_different_trajectories(solver: Solver) -> None:
    times = np.array([0.0, solver.time_scale / 20])
    assert list(solutions.trajectories_of_seeds(solver, times)) == []
