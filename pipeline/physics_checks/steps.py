"""The comparison of stored frames with one step of the solver from the frame before.

One step costs a small part of a trajectory, so almost every trajectory is compared, each in another frame. On
a coarser grid the step is the first one of the trajectory, and a solver with adaptive steps may need most of
its time for it. So fewer trajectories are compared there, at least one in each shard.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np

from pipeline.data.manifest import Manifest
from pipeline.generation.recomputation import other_method, relative_difference, tolerance
from pipeline.physics_checks.row_checks import Finding, RowCheck
from pipeline.physics_checks.stored_rows import NotApplicableError, Row
from simsurrogate.spec import Spec
from solvers.contract import DivergedError, Solver, SteppedTrajectory

#: The largest share of the cost of the generation.
MAX_COST_SHARE = 0.1

#: The size of the perturbation of a frame, in rounding errors of the file, and the number of perturbations.
_PERTURBATION = 1000
_NUM_PERTURBATIONS = 2

#: The largest error of the budget of a state, relative to the size of the invariant.
_BUDGET_TOLERANCE = 1e-9

_REMEDY = (
    "The trajectory has other physics or other parameters than the manifest says. Delete the file, and type "
    "the command of python -m pipeline.generate"
)


def every(spec: Spec, num_frames: int) -> int:
    """Return the distance of the compared rows: steps cost at most `MAX_COST_SHARE` of a long shard."""
    steps_of_equal_cost = 1 if spec.coarsening else max(num_frames - 1, 1)
    return math.ceil(1 / (MAX_COST_SHARE * steps_of_equal_cost) - 1e-9)


def steps(solver: Solver, manifest: Manifest) -> RowCheck:
    """Return the check that a random frame follows from the frame before by one step of the solver.

    A stored frame is rounded. The steps from perturbed frames bound the effect. Frames of a coarser grid do
    not determine the state of the solver, so the first frame after the start is computed from the parameters.

    Raises:
        NotApplicableError: the solver returns whole trajectories only, or there is one frame.
    """
    num_frames = len(manifest.header.times)
    if num_frames < 2:
        raise NotApplicableError("the trajectories have one frame")
    distance = every(solver.spec, num_frames)
    trajectory = solver.prepare(solver.sample(np.random.default_rng(0)))
    if not isinstance(trajectory, SteppedTrajectory):
        raise NotApplicableError("the solver returns whole trajectories, without steps between frames")

    def check(row: Row) -> Finding | None:
        if row.row % distance:
            return None
        with _comparable(solver, manifest, row):
            return _first_frame(row) if solver.spec.coarsening else _random_frame(row)

    return check


def budget(solver: Solver, manifest: Manifest) -> RowCheck:
    """Return the check that invariants change by what sources and walls supply, in one interval of a shard.

    Raises:
        NotApplicableError: the solver has no budget of its stored frames.
    """
    spec = solver.spec
    if spec.coarsening:
        raise NotApplicableError("a frame of a coarser grid does not determine what sources and walls supply")
    trajectory = solver.prepare(solver.sample(np.random.default_rng(0)))
    if len(manifest.header.times) < 2 or not isinstance(trajectory, SteppedTrajectory) or not spec.invariants:
        raise NotApplicableError("the solver has no steps or no invariants")
    if type(trajectory).budget is SteppedTrajectory.budget:
        raise NotApplicableError(f"the solver {spec.name} has no method budget")

    def check(row: Row) -> Finding | None:
        if row.row:
            return None
        with _comparable(solver, manifest, row):
            return _budget(row)

    return check


@contextmanager
def _comparable(solver: Solver, manifest: Manifest, row: Row) -> Iterator[None]:
    """Refuse a row whose steps the solver, on one rank, does not repeat.

    Raises:
        NotApplicableError: several ranks used another method, or a step diverges.
    """
    if reason := other_method(manifest, solver, row.receipt):
        raise NotApplicableError(reason)
    try:
        yield
    except DivergedError as error:
        raise NotApplicableError(f"a step from a stored frame cannot be computed: {error}") from error


def _budget(row: Row) -> Finding:
    times = row.shards.header.times
    frame, duration = _frame(row), float(times[-1]) / (len(times) - 1)
    trajectory = _stepped(row)
    state = row.state(frame)
    supplies = trajectory.budget(state, float(times[frame]), duration)
    # Bodies that start at rest have no momentum in one frame, and in the next one only its round-off.
    scales = [trajectory.invariants(np.abs(values)) for values in (state, row.state(frame + 1))]
    worst, message = 0.0, ""
    for name, supply in supplies.items():
        series = row.series(name)
        change = float(series[frame + 1] - series[frame])
        sizes = [abs(invariants[name]) for invariants in scales]
        scale = max(*sizes, abs(supply), float(np.abs(series).max())) or 1.0
        error = abs(change - supply) / scale
        worst = max(worst, error)
        if error <= _BUDGET_TOLERANCE:
            continue
        bound = max(
            abs(trajectory.budget(values, float(times[frame]), duration)[name] - supply) / scale
            for values in _perturbed(row, state)
        )
        if error > _BUDGET_TOLERANCE + bound:
            message = (
                f"{name} changes by {change:.6g} from {times[frame]:g} s to {times[frame + 1]:g} s, and "
                f"sources and walls supply {supply:.6g}. {_REMEDY}"
            )
    return Finding(message, {"error of the budget": worst})


def _first_frame(row: Row) -> Finding:
    """Compare the first frame after the start with that of the parameters."""
    times = row.shards.header.times
    _, state = islice(row.trajectory.solve(times), 2)
    stored = row.state(1)
    error = relative_difference(stored, state.astype(row.shards.header.precision).astype(np.float64))
    return _finding(error, tolerance(row.receipt), float(times[1]))


def _random_frame(row: Row) -> Finding:
    """Compare a frame with the step from the frame before, and with the steps from perturbed frames."""
    times, frame = row.shards.header.times, _frame(row)
    duration = float(times[-1]) / (len(times) - 1)
    trajectory = _stepped(row)
    state, stored = row.state(frame), row.state(frame + 1)
    computed = trajectory.advance(state, float(times[frame]), duration)
    scale = float(np.abs(stored).max()) or 1.0
    error = float(np.abs(computed - stored).max()) / scale
    eps = float(np.finfo(row.shards.header.precision).eps)
    if error <= 10 * eps:
        return Finding(numbers={"difference from a step of the solver": error})
    bound = max(
        float(np.abs(trajectory.advance(values, float(times[frame]), duration) - computed).max()) / scale
        for values in _perturbed(row, state)
    )
    return _finding(error, bound, float(times[frame + 1]))


def _finding(error: float, allowed: float, time: float) -> Finding:
    numbers = {"difference from a step of the solver": error}
    if error <= allowed:
        return Finding(numbers=numbers)
    return Finding(
        f"the frame at {time:g} s differs by {error:.2g} of its largest value from a step of the solver, at "
        f"most {allowed:.2g} allowed. {_REMEDY}",
        numbers,
    )


def _stepped(row: Row) -> SteppedTrajectory:
    assert isinstance(row.trajectory, SteppedTrajectory)
    return row.trajectory


def _frame(row: Row) -> int:
    """Return the frame before the compared one, another one for each trajectory."""
    return int(np.random.default_rng(row.index).integers(len(row.shards.header.times) - 1))


def _perturbed(row: Row, state: np.ndarray) -> Iterator[np.ndarray]:
    eps, rng = float(np.finfo(row.shards.header.precision).eps), np.random.default_rng(0)
    for _ in range(_NUM_PERTURBATIONS):
        yield state * (1 + _PERTURBATION * eps * rng.uniform(-1, 1, state.shape))
