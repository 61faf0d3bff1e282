"""The time until which a rollout is useful, and the Lyapunov time of the solver.

Shape letters: B trajectories, T frames after the first, C channels; `*sites` are the cells or particles.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from solvers.contract import SteppedTrajectory

#: A rollout is useful until its correlation with the truth falls below this value (arXiv:2308.05732, 4.2).
LEAST_CORRELATION = 0.8
#: A rollout of particles is useful until the error of the positions exceeds this share of their size
#: (Pathak et al. 2018, doi:10.1103/PhysRevLett.120.024102).
LARGEST_POSITION_ERROR = 0.4
#: The first separation of two nearby trajectories, in standard deviations of each channel.
_SEPARATION = 1e-6


def crossing_times(times: np.ndarray, values: np.ndarray, level: float, *, start: float) -> np.ndarray:
    """Return the first time at which a series exceeds `level`, (B,); infinity if it never does.

    The series is linear between the frames. A value that is not finite exceeds every level.

    Args:
        times: the times of all frames (T + 1,), s.
        values: (B, T), at all times after the first.
        level: the level.
        start: the value at the first time, at most `level`.
    """
    series = np.concatenate([np.full((len(values), 1), start), values], axis=1)
    series = np.where(np.isfinite(series), series, np.inf)
    exceeds = series > level
    after = np.maximum(exceeds.argmax(axis=1), 1)
    rows = np.arange(len(series))
    lower, upper = series[rows, after - 1], series[rows, after]
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(upper), 0.0, (level - lower) / np.where(upper > lower, upper - lower, 1.0))
    crossing = times[after - 1] + share * (times[after] - times[after - 1])
    return np.where(exceeds.any(axis=1), crossing, np.inf)


def position_errors(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the error of the positions in sizes of the system, (B, T).

        e(t) = sqrt(Σ |x_p − x|²) / sqrt(time mean of Σ |x − x_c|²)

    x_c is the mean position of the bodies at each time. Both arguments have the shape (B, T, D, particles).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.square(prediction - truth).sum(axis=(2, 3))
    distance = np.square(truth - truth.mean(axis=3, keepdims=True)).sum(axis=(2, 3))
    result: np.ndarray = np.sqrt(error / distance.mean(axis=1, keepdims=True))
    return result


def lyapunov_exponent(
    trajectory: SteppedTrajectory, times: np.ndarray, scale: np.ndarray, rng: np.random.Generator
) -> float:
    """Return the largest Lyapunov exponent (1/s) of a trajectory over the times (T + 1,) of its frames.

        λ = 1/(t_T − t_0) Σ_n ln(d_n / δ)

    Two trajectories of the solver start at a small distance δ in a random direction. After each frame, d_n is
    their distance, and the second one is moved to the distance δ from the first one. Distances are measured
    in standard deviations `scale` (C,) of each channel. The estimate holds for the duration of the data: its
    first part contains the growth before the separation turns into the most unstable direction.

    Raises:
        DivergedError: a trajectory cannot be computed.

    Source: Benettin, Galgani & Strelcyn 1976 (doi:10.1103/PhysRevA.14.2338).
    """
    state = np.asarray(trajectory.initial_state, np.float64)
    scales = np.where(scale > 0, scale, 1.0).reshape(-1, *[1] * (state.ndim - 1))
    direction = rng.normal(size=state.shape)
    distance = _SEPARATION * np.sqrt(state.size)
    offset = direction * (distance / np.linalg.norm(direction)) * scales
    logarithm = 0.0
    for start, end in pairwise(times):
        neighbour = trajectory.advance(state + offset, start, end - start)
        state = trajectory.advance(state, start, end - start)
        offset = neighbour - state
        growth = np.linalg.norm(offset / scales) / distance
        if not growth > 0:
            return -np.inf
        logarithm += np.log(growth)
        offset /= growth
    return float(logarithm / (times[-1] - times[0]))
