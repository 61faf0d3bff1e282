"""Checks of the frames of the first trajectory, before a data set is generated.

The frames have to vary by more than round-off, and the grid should resolve them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.coarsening.solver import CoarseSolver
from pipeline.coarsening.trajectory import CoarseTrajectory
from pipeline.data.plan import generator, index
from pipeline.generation import resolution
from simsurrogate.errors import UserError
from solvers.contract import DivergedError, Solver

if TYPE_CHECKING:
    from mpi4py import MPI

#: The smallest standard deviation of a field, in rounding errors of its largest value in the file.
LEAST_DEVIATION = 100

#: The round-off of solvers, relative to the largest value of all frames.
SOLVER_ROUND_OFF = 1e-13

#: The largest allowed share of frames of round-off.
MAX_SHARE = 0.1


def check_first_trajectory(
    solver: Solver, seed: int, times: np.ndarray, precision: str, world: MPI.Intracomm
) -> str:
    """Return a caution if the grid does not resolve the first trajectory of `train`, or an empty text.

    The solver's own frames show its resolution, also if coarser frames are stored.

    Raises:
        UserError: in too many frames, the standard deviation of every channel is round-off; or the change
            over all frames is round-off, or everything is 0 in the precision of the files.
    """
    if solver.spec.has_particles:
        return ""
    is_first_group = world.rank < solver.communicator.size
    mistake, caution = _mistake(solver, seed, times, precision) if is_first_group else (None, "")
    mistake, caution = world.bcast((mistake, caution))
    if mistake:
        raise UserError(mistake)
    return str(caution)


def _mistake(solver: Solver, seed: int, times: np.ndarray, precision: str) -> tuple[str | None, str]:
    """Return the error message or None, and a caution or an empty text.

    All ranks of the group call this function together.
    """
    trajectory = solver.prepare(solver.sample(generator(seed, index("train", 0))))
    own_solver = solver.fine if isinstance(solver, CoarseSolver) else solver
    own_trajectory = trajectory.fine if isinstance(trajectory, CoarseTrajectory) else trajectory
    deviations, largest_values, changes_by_frame = [], [], []
    first_state, caution = None, ""
    try:
        for time, own_state in zip(times, own_trajectory.solve(times), strict=True):
            if not caution:
                unresolved = resolution.unresolved(own_solver, own_state)
                caution = unresolved and f"trajectory 0 of train at {time:g} s: {unresolved}"
            state = trajectory.stored(own_state) if isinstance(trajectory, CoarseTrajectory) else own_state
            with np.errstate(over="ignore", under="ignore"):
                stored_state = state.astype(precision).astype(np.float64)
            first_state = stored_state if first_state is None else first_state
            deviation, largest_value, change = _deviation(solver, stored_state, first_state)
            deviations.append(deviation)
            largest_values.append(largest_value)
            changes_by_frame.append(change)
    except DivergedError:
        return None, caution
    deviation_TC, largest_TC = np.array(deviations), np.array(largest_values)
    change_C = np.max(changes_by_frame, axis=0)
    eps, least_value = float(np.finfo(precision).eps), float(np.finfo(precision).tiny)
    if largest_TC.max() < least_value:
        return _without_caution(
            f"all values of the first trajectory are below {least_value:.2g}, the smallest number with all "
            f"digits in {precision}. At least one field must have larger values. Type larger amplitudes, or "
            "storage.precision=float64"
        )
    file_limit_TC = LEAST_DEVIATION * eps * largest_TC
    solver_limit_C = SOLVER_ROUND_OFF * largest_TC.max(axis=0)
    is_round_off_T = np.all(deviation_TC <= np.maximum(file_limit_TC, solver_limit_C), axis=1)
    num_lost = int(np.count_nonzero(is_round_off_T))
    if num_lost > MAX_SHARE * len(times):
        frame = int(np.argmax(is_round_off_T))
        channel = int(np.argmax(deviation_TC[frame]))
        return _without_caution(
            f"{num_lost} of {len(times)} frames of the first trajectory are round-off: at "
            f"{times[frame]:g} s, {solver.spec.channels[channel]} has the standard deviation "
            f"{deviation_TC[frame, channel]:.2g} "
            f"{solver.spec.channel_units[channel]} around values up to {largest_TC[frame, channel]:.3g}, and "
            f"{precision} has {eps:.1g} of it as rounding error. At most "
            f"{100 * MAX_SHARE:g} % of the frames may be round-off. Type a smaller output.duration, or "
            "storage.precision=float64 for small deviations from a large value"
        )
    if np.all(change_C <= eps * largest_TC.max(axis=0)):
        channel = int(np.argmax(change_C))
        return _without_caution(
            f"the first trajectory does not change until {times[-1]:g} s: {solver.spec.channels[channel]} "
            f"changes by at most {change_C[channel]:.2g} {solver.spec.channel_units[channel]}, which is "
            f"round-off of {precision}. The fields must change in time. Type a longer output.duration"
        )
    return None, caution


def _without_caution(message: str) -> tuple[str, str]:
    return message, ""


def _deviation(
    solver: Solver, state: np.ndarray, first_state: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the standard deviation, the largest absolute value and the largest change of each channel.

    The change is that since the first state. The results are those of all ranks.
    """
    values_CX, changes_CX = (values.reshape(len(state), -1) for values in (state, state - first_state))
    parts = solver.communicator.allgather(
        (
            values_CX.shape[1],
            values_CX.mean(axis=1),
            values_CX.var(axis=1),
            np.abs(values_CX).max(axis=1),
            np.abs(changes_CX).max(axis=1),
        )
    )
    counts, means, variances, *largest = (np.array(values) for values in zip(*parts, strict=True))
    mean = np.average(means, axis=0, weights=counts)
    variance = np.average(variances + (means - mean) ** 2, axis=0, weights=counts)
    largest_values, largest_changes = (np.max(values, axis=0) for values in largest)
    return np.sqrt(variance), largest_values, largest_changes
