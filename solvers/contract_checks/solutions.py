"""Checks of the solutions of a solver on one rank.

Shape letters: C channels, T frames; `*sites` as in the spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from solvers.contract import Parameters, Solver, SteppedTrajectory, Trajectory
from solvers.returned_values import check_invariants, check_shape, check_trajectory

#: The largest difference of a solution with fewer output times, relative to the change in time.
TIMES_TOLERANCE = 1e-3
#: The largest change of a conserved mean and the largest error of a budget, relative to their sizes.
CONSERVED_TOLERANCE = 1e-6
BUDGET_TOLERANCE = 1e-12


def shapes(solver: Solver, times: np.ndarray) -> Iterator[str]:
    """Check shapes, types and values of states, coefficient fields and invariants."""
    spec = solver.spec
    trajectory = check_trajectory(solver, solver.prepare(sample_of(solver)))
    expected_shape = (len(spec.channels), *spec.shape)
    count = 0
    for count, state in enumerate(trajectory.solve(times), start=1):
        yield from _array_mistakes(trajectory, f"the state at {times[count - 1]:g} s", state, expected_shape)
        invariants = trajectory.invariants(state)
        try:
            check_invariants(trajectory, invariants, spec)
        except TypeError as error:
            yield str(error)
            return
        if list(invariants) != [quantity.name for quantity in spec.invariants]:
            yield f"the invariants are in the order {list(invariants)}, not in that of the spec"
        for name, value in invariants.items():
            if type(value) is not float:
                yield f"the invariant {name} has the type {type(value).__name__}, not float"
    if count != len(times):
        yield f"solve yields {count} states at {len(times)} times"
    coefficient_shape = (len(spec.coefficient_channels), *spec.shape)
    if spec.coefficient_fields:
        fields = trajectory.coefficient_fields
        yield from _array_mistakes(trajectory, "coefficient_fields", fields, coefficient_shape)
    elif trajectory.coefficient_fields is not None and trajectory.coefficient_fields.size:
        yield "the trajectory has coefficient fields, and the spec has none"
    for name, work in trajectory.counts.items():
        if type(work) is not int:
            yield f"the count {name} has the type {type(work).__name__}, not int"


def trajectories_of_seeds(solver: Solver, times: np.ndarray) -> Iterator[str]:
    """Check that different parameters have different solutions at the times (T,)."""
    first, second = (states_of(solver, sample_of(solver, seed), times) for seed in (0, 1))
    # The initial states may be equal.
    if np.allclose(first, second):
        yield "two draws of the parameters have the same solution: prepare ignores its parameters"


def determinism(solver: Solver, times: np.ndarray) -> Iterator[str]:
    """Check that equal parameters give equal bits, whatever is computed in between, and stay unchanged."""
    parameters = sample_of(solver)
    before = {name: np.copy(value) for name, value in parameters.items()}
    first = states_of(solver, parameters, times)
    for name, value in before.items():
        if not np.array_equal(parameters[name], value):
            yield f"the solution changes the parameter {name} of its caller"
    states_of(solver, sample_of(solver, 1), times)
    copies = {
        name: float(value) if isinstance(parameters[name], float) else value for name, value in before.items()
    }
    second = states_of(solver, copies, times)
    if not np.array_equal(first, second):
        frame = int(np.argmax([not np.array_equal(*pair) for pair in zip(first, second, strict=True)]))
        scale = float(np.abs(first).max()) or 1.0
        yield (
            f"a second solution for equal parameters differs from {times[frame]:g} s on, by up to "
            f"{np.abs(first - second).max() / scale:.2g} of its largest value. A solver keeps no state "
            "between calls, and draws no random numbers of its own"
        )


def frames(solver: Solver, times: np.ndarray) -> Iterator[str]:
    """Check that an odd number of output times has no influence on the solution, which changes in time.

    A stepped trajectory also yields the same frames from `solve` and `advance`, and continues with the same
    bits after a restart.
    """
    parameters = sample_of(solver)
    states = states_of(solver, parameters, times)
    change = float(np.linalg.norm(states[-1] - states[0]))
    if change == 0:
        yield f"the solution does not change between 0 s and {times[-1]:g} s"
        return
    for name, chosen in (("every second time", slice(None, None, 2)), ("the first time", slice(1))):
        others = states_of(solver, parameters, times[chosen])
        difference = float(np.linalg.norm(others - states[chosen]))
        if difference > TIMES_TOLERANCE * change:
            yield (
                f"the solution for {name} differs from that for all times by {difference / change:.2g} of "
                "the change in time. The state at a time must not depend on the other times, and the first "
                "state belongs to 0 s"
            )
            return
    trajectory = solver.prepare(parameters)
    if isinstance(trajectory, SteppedTrajectory):
        yield from _step_mistakes(solver, parameters, trajectory, times, states)


def conservation(solver: Solver, times: np.ndarray) -> Iterator[str]:
    """Check the means of conserved fields, and the budget of the invariants, at even `times` (T,)."""
    spec = solver.spec
    parameters = sample_of(solver)
    trajectory = solver.prepare(parameters)
    states = states_of(solver, parameters, times)
    axes = tuple(range(2, states.ndim))
    for channel in spec.conserved_channels:
        values = states[:, spec.channels.index(channel)][:, None]
        means = values.mean(axis=axes)
        scale = float(np.abs(values).max()) or 1.0
        if np.abs(means - means[0]).max() > CONSERVED_TOLERANCE * scale:
            yield (
                f"the spec says that {channel} is conserved, and its mean changes from {means[0, 0]:.6g} to "
                f"{means[-1, 0]:.6g}"
            )
    if isinstance(trajectory, SteppedTrajectory):
        yield from _budget_mistakes(solver, trajectory, times)


def states_of(solver: Solver, parameters: Parameters, times: np.ndarray) -> np.ndarray:
    """Return the states (T, C, *block) at the times."""
    return np.array(list(solver.prepare(parameters).solve(times)))


def sample_of(solver: Solver, seed: int = 7) -> Parameters:
    """Return the parameters of a trajectory of the checks."""
    return solver.sample(np.random.default_rng(seed))


def _array_mistakes(
    trajectory: Trajectory, name: str, values: Any, expected_shape: tuple[int, ...]
) -> Iterator[str]:
    """Yield a sentence for a wrong shape, a wrong type, or values that are not finite."""
    try:
        check_shape(trajectory, name, values, expected_shape)
    except TypeError as error:
        yield str(error)
        return
    if values.dtype != np.float64:
        yield f"{name} has the type {values.dtype}, not float64"
    elif not np.isfinite(values).all():
        yield f"{name} has values that are not finite"


def _step_mistakes(
    solver: Solver,
    parameters: Parameters,
    trajectory: SteppedTrajectory,
    times: np.ndarray,
    states: np.ndarray,
) -> Iterator[str]:
    """Yield a sentence for each difference between steps and whole solutions."""
    duration = float(times[-1]) / (len(times) - 1)
    state = trajectory.initial_state
    for time, expected in zip(times, states, strict=True):
        if not np.array_equal(state, expected):
            yield f"solve and advance return different states at {time:g} s"
            return
        before = state.copy()
        next_state = trajectory.advance(state, float(time), duration)
        if not np.array_equal(state, before):
            yield "advance changes the state that it receives"
            return
        state = next_state
    middle = len(times) // 2
    restarted = solver.prepare(parameters)
    assert isinstance(restarted, SteppedTrajectory)
    for frame in range(middle, len(times) - 1):
        after = restarted.advance(states[frame].copy(), float(times[frame]), duration)
        if not np.array_equal(after, states[frame + 1]):
            yield f"a restart at {times[frame]:g} s continues with other bits"
            return


def _budget_mistakes(solver: Solver, trajectory: SteppedTrajectory, times: np.ndarray) -> Iterator[str]:
    """Yield a sentence for each invariant whose change is not the supply of its budget."""
    names = {quantity.name for quantity in solver.spec.invariants}
    duration = float(times[-1]) / (len(times) - 1)
    state = trajectory.initial_state
    for time in times[:-1]:
        budget: Mapping[str, float] = trajectory.budget(state, float(time), duration)
        if unknown := sorted(budget.keys() - names):
            yield f"budget names {', '.join(unknown)}, which are no invariants"
            return
        before, state = trajectory.invariants(state), trajectory.advance(state, float(time), duration)
        after = trajectory.invariants(state)
        # Values of both signs may cancel in an invariant of the state, but not in one of its absolute value.
        scales = trajectory.invariants(np.abs(state))
        for name, supply in budget.items():
            error = abs(after[name] - before[name] - supply)
            if not error < BUDGET_TOLERANCE * max(abs(scales[name]), abs(supply), 1e-300):
                change = after[name] - before[name]
                yield f"{name} changes by {change:.6g} in a step, and its budget is {supply:.6g}"
                return
