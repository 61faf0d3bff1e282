"""The contract of every solver, with its shipped options and with small variants."""

from __future__ import annotations

import inspect
import json
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
from tests.support.frame_derivatives import derivative_of_frames
from tests.support.solver_cases import DECLARED_STEPS, Case, all_cases

BOUNDARIES = {"periodic", "dirichlet", "neumann", "open"}
DECLARATIONS = ("order_in_time", "order_in_space", "time_scale")


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
    assert shipped_names - {"custom"} == set(solver_names())  # custom.yaml serves a user's own file
    with pytest.raises(UserError, match=r"solver 'cold' is not one of .*heat"):
        solver_class("cold")


def test_orders_and_time_scale_are_declared(solver: Solver) -> None:
    for name in DECLARATIONS:
        value = getattr(solver, name, None)
        assert value is not None, f"{type(solver).__name__} declares no {name}. Set a positive number"
        assert isinstance(value, (int, float)), (
            f"{type(solver).__name__}.{name}={value!r} is not a number. Set a positive number"
        )
        assert value > 0, f"{type(solver).__name__}.{name}={value} is not positive. Set a positive number"
    assert math.isfinite(solver.time_scale)


def test_the_spec_is_complete_and_convertible_to_json(solver: Solver) -> None:
    spec = solver.spec
    assert json.loads(json.dumps(spec.to_json()))["name"] == spec.name
    assert spec.equation
    assert spec.fields
    assert solver.method
    quantities = (*spec.fields, *spec.coefficient_fields, *spec.parameters, *spec.invariants)
    names = [quantity.name for quantity in quantities] + [axis.name for axis in spec.axes] + ["t"]
    assert len(set(names)) == len(names)
    for quantity in quantities:
        assert quantity.name.isidentifier()
        assert quantity.name == quantity.name.lower()
        assert quantity.unit
        assert quantity.description
    for parameter in spec.parameters:
        assert parameter.low <= parameter.high
    for axis in spec.axes:
        assert axis.boundary in BOUNDARIES
        assert axis.centres.shape == (axis.size,)
    assert solver.block == tuple(slice(0, axis.size) for axis in spec.axes)
    if spec.has_particles:
        assert [field.name for field in spec.fields] == ["position", "velocity"]
        assert [field.tensor_order for field in spec.fields] == [1, 1]
        assert [field.name for field in spec.coefficient_fields] == ["mass"]


def test_states_invariants_and_coefficient_fields_agree_with_the_spec(
    solver: Solver, parameters: Parameters
) -> None:
    spec = solver.spec
    trajectory = solver.prepare(parameters)
    (state,) = trajectory.solve(np.array([0.0]))
    assert (state.shape, state.dtype) == ((len(spec.channels), *spec.shape), np.float64)
    if spec.coefficient_fields:
        fields = trajectory.coefficient_fields
        assert fields is not None
        assert (fields.shape, fields.dtype) == ((len(spec.coefficient_channels), *spec.shape), np.float64)
        assert np.all(np.isfinite(fields))
    else:
        assert trajectory.coefficient_fields is None or not trajectory.coefficient_fields.size
    invariants = trajectory.invariants(state)
    assert list(invariants) == [quantity.name for quantity in spec.invariants]
    assert all(type(value) is float for value in invariants.values())
    assert all(type(count) is int for count in trajectory.counts.values())


def test_advancing_is_deterministic_and_does_not_change_its_arguments(
    solver: Solver, parameters: Parameters, trajectory: SteppedTrajectory, duration: float
) -> None:
    state = trajectory.initial_state
    state_before = state.copy()
    parameters_before = {name: np.copy(value) for name, value in parameters.items()}
    state_after = trajectory.advance(state, 0.0, duration)
    file = inspect.getfile(type(trajectory))
    assert (state_after.shape, state_after.dtype) == (state.shape, state.dtype), f"{file}: advance"
    assert np.array_equal(state, state_before)
    assert all(np.array_equal(parameters[name], value) for name, value in parameters_before.items())
    assert not np.allclose(state_after, state)
    other_trajectory = solver.prepare(solver.sample(np.random.default_rng(1)))
    assert isinstance(other_trajectory, SteppedTrajectory)
    other_trajectory.advance(state_after, 0.0, duration)
    assert np.array_equal(trajectory.advance(state, 0.0, duration), state_after)
    copied_parameters = {
        name: value if isinstance(value, float) else value.copy() for name, value in parameters.items()
    }
    copied_trajectory = solver.prepare(copied_parameters)
    assert isinstance(copied_trajectory, SteppedTrajectory)
    assert np.array_equal(copied_trajectory.advance(state, 0.0, duration), state_after)


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


def test_solve_and_advance_return_the_same_frames(trajectory: SteppedTrajectory, duration: float) -> None:
    state = trajectory.initial_state
    for frame, frame_of_solve in enumerate(trajectory.solve(np.linspace(0.0, 2 * duration, 3))):
        assert np.array_equal(frame_of_solve, state)
        state = trajectory.advance(state, frame * duration, duration)


def test_the_result_does_not_depend_on_the_output_times(
    trajectory: SteppedTrajectory, duration: float
) -> None:
    initial_state = state = trajectory.initial_state
    final_state = trajectory.advance(initial_state, 0.0, duration)
    for step in range(4):
        state = trajectory.advance(state, step * duration / 4, duration / 4)
    assert np.linalg.norm(state - final_state) < 1e-3 * np.linalg.norm(final_state - initial_state)


def test_the_budget_is_the_change_of_the_invariants(
    solver: Solver, trajectory: SteppedTrajectory, duration: float
) -> None:
    state = trajectory.initial_state
    names = {quantity.name for quantity in solver.spec.invariants}
    for frame in range(3):
        time = frame * duration
        budget = trajectory.budget(state, time, duration)
        assert budget.keys() <= names
        invariants_before, state = trajectory.invariants(state), trajectory.advance(state, time, duration)
        invariants_after = trajectory.invariants(state)
        # Values of both signs may cancel in an invariant of the state, but not in one of its absolute value.
        scales = trajectory.invariants(np.abs(state))
        for name, supply in budget.items():
            scale = max(abs(scales[name]), abs(supply))
            assert abs(invariants_after[name] - invariants_before[name] - supply) < 1e-12 * scale, name


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


def test_a_restart_in_the_middle_continues_with_the_same_bits(
    solver: Solver, parameters: Parameters, trajectory: SteppedTrajectory, duration: float
) -> None:
    middle_state = trajectory.advance(trajectory.initial_state.copy(), 0.0, duration).copy()
    final_state = trajectory.advance(middle_state.copy(), duration, duration).copy()
    restarted_trajectory = solver.prepare(parameters)
    assert isinstance(restarted_trajectory, SteppedTrajectory)
    np.testing.assert_array_equal(
        restarted_trajectory.advance(middle_state.copy(), duration, duration), final_state
    )


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
