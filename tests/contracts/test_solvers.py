"""The contract of every solver, with its shipped options and with small variants."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import configs
from simsurrogate.errors import UserError
from solvers.batches import BatchedSolver
from solvers.contract import (
    DivergedError,
    Parameters,
    Setting,
    Solver,
    SteppedTrajectory,
    last_state,
    solver_class,
    solver_names,
)
from solvers.contract_checks import draws, solutions
from tests.support.frame_derivatives import derivative_of_frames
from tests.support.solver_cases import DECLARED_STEPS, Case, all_cases


@pytest.fixture(scope="module", params=all_cases(), ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    assert isinstance(request.param, Case)
    return request.param


@pytest.fixture(scope="module")
def solver(case: Case) -> Solver:
    return case.build()


@pytest.fixture(scope="module")
def parameters(solver: Solver) -> Parameters:
    return solver.sample(np.random.default_rng(7))


@pytest.fixture(scope="module")
def trajectory(solver: Solver, parameters: Parameters) -> SteppedTrajectory:
    trajectory = solver.prepare(parameters)
    if not isinstance(trajectory, SteppedTrajectory):
        pytest.skip("this solver returns whole solutions only")
    return trajectory


@pytest.fixture(scope="module")
def duration(solver: Solver) -> float:
    """Return a twentieth (s) of the solver's time scale."""
    return solver.time_scale / 20


def test_every_shipped_yaml_has_its_solver() -> None:
    shipped_names = {path.stem for path in (Path(configs.__path__[0]) / "solver").glob("*.yaml")}
    # custom.yaml serves a user's own file, and surrogate.yaml a member of the pipeline itself.
    assert shipped_names - {"custom", "surrogate"} == set(solver_names())
    with pytest.raises(UserError, match=r"solver 'cold' is not one of .*heat"):
        solver_class("cold")


def test_the_declarations_and_the_spec_are_complete(solver: Solver) -> None:
    assert list(draws.declarations(solver)) == []


def test_states_invariants_and_coefficient_fields_agree_with_the_spec(
    solver: Solver, duration: float
) -> None:
    assert list(solutions.shapes(solver, np.array([0.0, duration]))) == []


def test_a_solution_is_deterministic_and_does_not_change_its_arguments(
    solver: Solver, duration: float
) -> None:
    assert list(solutions.determinism(solver, np.array([0.0, duration]))) == []


def test_the_inputs_of_surrogates_determine_a_trajectory_unless_the_spec_denies_it(
    solver: Solver, parameters: Parameters, trajectory: SteppedTrajectory, duration: float
) -> None:
    # Arrays that change neither the initial state nor the coefficient fields are no inputs of a surrogate.
    final_state = trajectory.advance(trajectory.initial_state, 0.0, duration)
    other_parameters = solver.sample(np.random.default_rng(8))
    future_depends_on_hidden_arrays = False
    for name in parameters.keys() - set(solver.spec.parameter_names):
        other_trajectory = solver.prepare(parameters | {name: other_parameters[name]})
        assert isinstance(other_trajectory, SteppedTrajectory)
        inputs, other_inputs = (
            [candidate.initial_state, _coefficient_fields(candidate)]
            for candidate in (trajectory, other_trajectory)
        )
        if all(map(np.array_equal, inputs, other_inputs)):
            other_state = other_trajectory.advance(trajectory.initial_state, 0.0, duration)
            future_depends_on_hidden_arrays |= not np.array_equal(other_state, final_state)
    assert solver.spec.deterministic is not future_depends_on_hidden_arrays


def test_the_solution_is_affine_in_the_declared_parameters(case: Case, solver: Solver) -> None:
    names = solver.spec.linear_in
    if not names:
        pytest.skip("this solver declares no parameters in which the solution is affine")
    if math.isfinite(solver.order_in_time):
        solver = case.build(**DECLARED_STEPS[case.solver])
    first = solver.sample(np.random.default_rng(3))
    second = first | {name: solver.sample(np.random.default_rng(4))[name] for name in names}
    times = np.linspace(0.0, solver.time_scale / 5, 3)
    weight = 1.7
    combination = first | {name: weight * first[name] + (1 - weight) * second[name] for name in names}
    states = [
        np.array(list(solver.prepare(parameters).solve(times))) for parameters in (first, second, combination)
    ]
    assert np.linalg.norm(states[0][-1] - states[1][-1]) > 1e-6 * np.linalg.norm(states[0][-1])
    expected = weight * states[0] + (1 - weight) * states[1]
    np.testing.assert_allclose(states[2], expected, rtol=0, atol=1e-12 * np.abs(states[:2]).max())


def test_frames_do_not_depend_on_output_times_and_steps_and_restarts_return_the_same_frames(
    solver: Solver, duration: float
) -> None:
    assert list(solutions.frames(solver, np.linspace(0.0, 2 * duration, 3))) == []


def test_the_result_does_not_depend_on_the_output_times(
    trajectory: SteppedTrajectory, duration: float
) -> None:
    initial_state = state = trajectory.initial_state
    final_state = trajectory.advance(initial_state, 0.0, duration)
    for step in range(4):
        state = trajectory.advance(state, step * duration / 4, duration / 4)
    assert np.linalg.norm(state - final_state) < 1e-3 * np.linalg.norm(final_state - initial_state)


def test_the_budget_is_the_change_of_the_invariants_and_conserved_means_stay(
    solver: Solver, duration: float
) -> None:
    assert list(solutions.conservation(solver, np.linspace(0.0, 3 * duration, 4))) == []


def test_the_solution_satisfies_the_residual(
    solver: Solver, parameters: Parameters, trajectory: SteppedTrajectory
) -> None:
    # Central differences of three frames give a residual that is small relative to the rate of change.
    if not solver.spec.smooth_coefficients:
        pytest.skip("finite differences are wrong where coefficient fields jump")
    if type(solver).residual is Solver.residual:
        pytest.skip("this solver defines no residual, which is optional")
    step = solver.time_scale / 500
    middle_time = 20 * step
    state = trajectory.advance(trajectory.initial_state, 0.0, middle_time - step)
    frames = [state]
    for offset in (-1, 0):
        frames.append(trajectory.advance(frames[-1], middle_time + offset * step, step))
    history = np.array(frames)
    spec = solver.spec
    fields: dict[str, Any] = {name: history[:, channel] for channel, name in enumerate(spec.channels)}
    if trajectory.coefficient_fields is not None:
        for name, values in zip(spec.coefficient_channels, trajectory.coefficient_fields, strict=True):
            fields[name] = np.broadcast_to(values, history[:, 0].shape)
    fields["t"] = np.reshape(middle_time + step * np.arange(-1, 2), (3, *[1] * len(spec.axes)))

    def derivative(values: np.ndarray, name: str) -> np.ndarray:
        return derivative_of_frames(spec, step, values, name)

    interior = (1, *(slice(4, -4) if axis.has_walls else slice(None) for axis in spec.axes))
    residuals = solver.residual(fields, derivative, parameters)
    assert residuals
    rates = [np.linalg.norm(derivative(fields[name], "t")[interior]) for name in spec.channels]
    assert all(map(math.isfinite, rates))
    for equation, residual in residuals.items():
        assert np.linalg.norm(residual[interior]) < 0.1 * max(rates), equation


def test_a_batch_equals_its_trajectories_bit_for_bit(solver: Solver) -> None:
    if not isinstance(solver, BatchedSolver):
        pytest.skip("this solver computes one trajectory at a time")
    times = np.linspace(0.0, solver.time_scale / 2, 4)
    parameters = [solver.sample(np.random.default_rng(seed)) for seed in range(6)]
    batch = solver.solve_batch(parameters, times)
    total_counts: dict[str, int] = {}
    for row, sample in enumerate(parameters):
        trajectory = solver.prepare(sample)
        assert np.array_equal(batch.coefficient_fields[row], _coefficient_fields(trajectory))
        failure = None
        try:
            for frame, state in enumerate(trajectory.solve(times)):
                assert np.array_equal(batch.states[row, frame], state)
                invariants = trajectory.invariants(state)
                assert list(batch.invariants) == list(invariants)
                assert all(batch.invariants[name][row, frame] == invariants[name] for name in invariants)
        except DivergedError as error:
            failure = str(error)
        assert batch.failures[row] == failure
        total_counts = {name: total_counts.get(name, 0) + count for name, count in trajectory.counts.items()}
    assert batch.counts == total_counts


def _coefficient_fields(trajectory: Any) -> np.ndarray:
    fields: np.ndarray = trajectory.coefficient_fields
    return fields


def test_the_cheaper_settings_return_states_of_the_data_and_the_reference_is_more_accurate(
    solver: Solver, parameters: Parameters, duration: float
) -> None:
    """A setting may diverge. All others are compared at one time, on the sites of the solver."""
    times = np.array([0.0, duration])
    reference = solver.reference_setting()
    settings = list(solver.cheaper_settings())
    assert len({setting.name for setting in settings}) == len(settings)
    if reference is None:
        assert not settings
        return
    truth = last_frame(reference, parameters, times)
    assert truth.shape == (len(solver.spec.channels), *solver.spec.shape)
    own_state = last_state(solver, solver.prepare(parameters), times)
    errors = [np.inf]
    for setting in settings:
        with suppress(DivergedError):
            state = last_frame(setting, parameters, times)
            assert state.shape == truth.shape
            errors.append(float(np.linalg.norm(state - truth)))
    assert len(errors) > 5
    own_error = float(np.linalg.norm(own_state - truth))
    assert own_error < 0.05 * np.linalg.norm(truth)
    assert max(error for error in errors if np.isfinite(error)) > own_error


def last_frame(setting: Setting, parameters: Parameters, times: np.ndarray) -> np.ndarray:
    return setting.to_sites(last_state(setting.solver, setting.solver.prepare(parameters), times))
