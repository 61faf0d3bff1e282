"""The draws of every solver: parameters in their ranges, determined by the index, and a second accuracy."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from pipeline.data.plan import generator
from solvers.batches import BatchedSolver
from solvers.contract import Solver
from solvers.nbody import NBody
from tests.support.solver_cases import Case, all_cases


@pytest.fixture(scope="module", params=all_cases(), ids=str)
def solver(request: pytest.FixtureRequest) -> Solver:
    assert isinstance(request.param, Case)
    return request.param.build()


def test_samples_are_floats_in_range_and_arrays_of_fixed_shape(solver: Solver) -> None:
    scalars = {parameter.name: parameter for parameter in solver.spec.parameters}
    shapes: dict[str, Any] = {}
    for seed, outside in product(range(20), (False, True)):
        if outside and isinstance(solver, NBody) and "second_x" in scalars:
            continue  # three bodies at rest have no outside
        sample = solver.sample(np.random.default_rng(seed), outside)
        num_outside = 0
        for name, value in sample.items():
            if name in scalars:
                assert type(value) is float
                num_outside += not scalars[name].low <= value <= scalars[name].high
            else:
                assert value.dtype == np.float64
                assert shapes.setdefault(name, value.shape) == value.shape
        assert num_outside in ({1, len(scalars)} if outside else {0})
        assert sample.keys() == shapes.keys() | scalars.keys()


def test_only_the_index_determines_the_parameters(solver: Solver) -> None:
    # The parameters of an index do not depend on earlier draws and differ from those of other indices.
    samples = [solver.sample(generator(0, index)) for index in range(3)]
    samples_in_reverse = [solver.sample(generator(0, index)) for index in (2, 1, 0)][::-1]
    for sample, repeated_sample in zip(samples, samples_in_reverse, strict=True):
        assert sample.keys() == repeated_sample.keys()
        assert all(np.array_equal(sample[name], repeated_sample[name]) for name in sample)
    for sample, other_sample in ((samples[0], samples[1]), (samples[1], samples[2])):
        random_names = [name for name in sample if not np.array_equal(sample[name], other_sample[name])]
        constant_names = {
            parameter.name for parameter in solver.spec.parameters if parameter.low == parameter.high
        }
        assert set(sample) - set(random_names) <= constant_names


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
    samples = [solver.sample(np.random.default_rng(seed)) for seed in (0, 1)]
    times = np.array([0.0, solver.time_scale / 20])
    solutions = (solver.prepare(sample).solve(times) for sample in samples)
    # The initial states may be equal.
    assert not all(np.allclose(first, second) for first, second in zip(*solutions, strict=True))
