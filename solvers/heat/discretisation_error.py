"""The estimate of the discretisation error of a heat trajectory, from solutions on two grids."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from simsurrogate.errors import UserError
from solvers.contract import DiscretisationError, Parameters, Solver, last_state

#: The ratio of the cell widths of the two grids. The cells of the coarse grid have centres of fine cells.
RATIO = 3

#: The number of cells of the fine grid that suffices. The error of a finer grid follows from a coarser pair
#: by the order 2.
ENOUGH_CELLS = 2**15

#: The largest number of cells of the fine grid, for drawn fields that a smaller grid does not resolve.
MAX_CELLS = 2**18

#: The smallest standard deviation at the end relative to that at time 0 s to which an error is relative.
LEAST_DECAY = 0.01


def estimate_error(
    build: Callable[[list[int], bool], Solver],
    resolution: tuple[int, ...],
    parameters: Parameters,
    times: np.ndarray,
) -> DiscretisationError | None:
    """Return the estimate of the error at the last of `times` (s), see `Solver.discretisation_error`.

    The difference of second-order solutions on cells of width h and h / 3 is 8 / 9 of the error for h. The
    result is None if no fine grid of at most `MAX_CELLS` has a coarse grid that resolves the drawn fields.

    Args:
        build: returns the solver on a grid, on one rank, and with True, a solver whose error in time is
            negligible. The grid may be too coarse for the drawn fields (`UserError`).
        resolution: the number of cells along each axis.
        parameters: the parameters of the trajectory.
        times: the times of all frames, s.

    Raises:
        DivergedError: a trajectory cannot be computed.
    """
    coarse = _coarse_solver(build, resolution)
    if coarse is None:
        return None
    cells, coarse_solver = coarse
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
    scale = max(float(np.std(fine_state)), LEAST_DECAY * float(np.std(initial_state)))
    if scale == 0:
        return DiscretisationError(0.0, 0.0)
    refinement = max(coarse_count / count for coarse_count, count in zip(cells, resolution, strict=True))
    grid_error = _root_mean_square(exact_in_time[0] - fine_state[0][centres]) * RATIO**2 / (RATIO**2 - 1)
    time_error = _root_mean_square(state - exact_in_time)
    return DiscretisationError(grid_error * refinement**2 / scale, time_error / scale)


def _coarse_solver(
    build: Callable[[list[int], bool], Solver], resolution: tuple[int, ...]
) -> tuple[list[int], Solver] | None:
    """Return the smallest of the coarse grids that resolves the drawn fields, and its solver."""
    for cells in _coarse_grids(resolution):
        try:
            return cells, build(cells, False)
        except UserError:
            continue
    return None


def _coarse_grids(resolution: tuple[int, ...]) -> Iterator[list[int]]:
    """Yield the cells of coarse grids, from few to many: `resolution`, or fewer in the same proportions."""
    fine_cells = math.prod(RATIO * count for count in resolution)
    enough_cells = ENOUGH_CELLS
    while enough_cells <= MAX_CELLS:
        factor = min(1.0, (enough_cells / fine_cells) ** (1 / len(resolution)))
        cells = [max(int(count * factor), 2) for count in resolution]
        # A long narrow grid keeps two cells along its short axes.
        if math.prod(RATIO * count for count in cells) <= MAX_CELLS:
            yield cells
        enough_cells *= 2


def _root_mean_square(values: np.ndarray) -> float:
    return math.sqrt(float(np.mean(values**2)))
