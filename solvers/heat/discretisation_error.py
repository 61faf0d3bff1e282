"""The estimate of the discretisation error of a heat trajectory, from solutions on two grids."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from simsurrogate.errors import UserError
from solvers.contract import DiscretisationError, Parameters, Solver, last_state

#: The ratio of the cell widths of the two grids. The cells of the coarse grid have centres of fine cells.
RATIO = 3

#: The largest number of cells of the fine grid. A finer grid is estimated from a coarser pair by the order 2.
MAX_CELLS = 2**15

#: The smallest standard deviation at the end relative to that at time 0 s to which an error is relative.
LEAST_DECAY = 0.01


def estimate_error(
    build: Callable[[list[int], bool], Solver],
    resolution: tuple[int, ...],
    parameters: Parameters,
    times: np.ndarray,
) -> DiscretisationError:
    """Return the estimate of the error at the last of `times` (s), see `Solver.discretisation_error`.

    The difference of second-order solutions on cells of width h and h / 3 is 8 / 9 of the error for h.

    Args:
        build: returns the solver on a grid, and with True, a solver whose error in time is negligible.
        resolution: the number of cells along each axis.
        parameters: the parameters of the trajectory.
        times: the times of all frames, s.

    Raises:
        DivergedError: a trajectory cannot be computed.
    """
    cells = _affordable_cells(resolution)
    try:
        coarse_solver = build(cells, False)
    except UserError:
        # The affordable grid does not resolve the drawn fields. The actual grid does.
        cells = list(resolution)
        coarse_solver = build(cells, False)
    trajectory = coarse_solver.prepare(parameters)
    (initial_state,) = trajectory.solve(np.zeros(1))
    state = last_state(coarse_solver, trajectory, times)
    exact_in_time = state
    if math.isfinite(coarse_solver.order_in_time):
        accurate_solver = build(cells, True)
        exact_in_time = last_state(accurate_solver, accurate_solver.prepare(parameters), times)
    fine_solver = build([RATIO * count for count in cells], True)
    fine_state = last_state(fine_solver, fine_solver.prepare(parameters), times)
    centres = np.ix_(*(np.arange(RATIO // 2, RATIO * count, RATIO) for count in cells))
    initial_deviation = math.sqrt(
        float(np.mean(coarse_solver.communicator.allgather(float(np.var(initial_state)))))
    )
    scale = max(float(np.std(fine_state)), LEAST_DECAY * initial_deviation)
    if scale == 0:
        return DiscretisationError(0.0, 0.0)
    refinement = max(coarse / count for coarse, count in zip(cells, resolution, strict=True))
    grid_error = _root_mean_square(exact_in_time[0] - fine_state[0][centres]) * RATIO**2 / (RATIO**2 - 1)
    time_error = _root_mean_square(state - exact_in_time)
    return DiscretisationError(grid_error * refinement**2 / scale, time_error / scale)


def _affordable_cells(resolution: tuple[int, ...]) -> list[int]:
    """Return the cells of the coarse grid: `resolution`, or fewer in the same proportions."""
    fine_cells = math.prod(RATIO * count for count in resolution)
    factor = min(1.0, (MAX_CELLS / fine_cells) ** (1 / len(resolution)))
    return [max(int(count * factor), 2) for count in resolution]


def _root_mean_square(values: np.ndarray) -> float:
    return math.sqrt(float(np.mean(values**2)))
