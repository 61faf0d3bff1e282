"""Baselines: predictions without learning, which a surrogate has to beat.

Shape letters: B trajectories, T frames, C channels of the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from solvers.contract import SteppedTrajectory

if TYPE_CHECKING:
    from pipeline.evaluation.schema import Mode
    from simsurrogate.spec import Spec
    from solvers.contract import Solver, Trajectory


def persistence(initial_state: np.ndarray, num_frames: int) -> np.ndarray:
    """Return the state (B, C, *sites) at each time, as a read-only array (B, num_frames, C, *sites)."""
    return np.broadcast_to(
        initial_state[:, None], (initial_state.shape[0], num_frames, *initial_state.shape[1:])
    )


def training_mean(mean: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return the training split's `mean` (C,) of each channel everywhere, in the shape of `like`.

    `like` has the shape (B, T, C, *sites).
    """
    return np.broadcast_to(mean.reshape(-1, *[1] * (like.ndim - 3)), like.shape)


def linear_solution(
    trajectories: Sequence[Trajectory], states: np.ndarray, times: np.ndarray, mode: Mode
) -> np.ndarray | None:
    """Return the solution without nonlinear terms at each frame after the first, (B, T - 1, C, *sites).

    The result is None if the solver has no such solution, see `SteppedTrajectory.advance_linear`.

    Args:
        trajectories: the prepared trajectory of each row.
        states: the true frames (B, T, C, *sites).
        times: the times of the frames (T,), s.
        mode: `one_step` starts from the true frame before, `rollout` from the first frame.
    """
    solutions = np.empty_like(states[:, 1:])
    for trajectory, frames, solution in zip(trajectories, states, solutions, strict=True):
        if not isinstance(trajectory, SteppedTrajectory):
            return None
        state = frames[0]
        for index, (start, end) in enumerate(pairwise(times)):
            true_or_solved = frames[index] if mode == "one_step" else state
            next_state = trajectory.advance_linear(np.asarray(true_or_solved, np.float64), start, end - start)
            if next_state is None:
                return None
            solution[index] = state = next_state
    return solutions


def missing_linear_solution(solver: Solver | None, spec: Spec) -> str:
    """Return the sentence on data of `spec` for which `linear_solution` has no result, with the reason."""
    if solver is None:
        reason = "the data set was adopted from files without a solver"
    elif solver.spec.channels != spec.channels:
        reason = "quantities of interest are no states of the solver"
    elif spec.coarsening is not None and spec.coarsening.method == "cell_averages":
        reason = "averages over cells do not determine the solver's states"
    else:
        reason = "the solver has no solution without nonlinear terms"
    return f"The linear solution is not compared, because {reason}."
