"""The contract of solvers that compute batches of complete trajectories in one compiled call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from solvers.contract import Parameters, Solver


@dataclass(frozen=True)
class TrajectoryBatch:
    """A batch of complete trajectories, one in each row.

    Attributes:
        states: float64 (B, T, C, *sites).
        coefficient_fields: float64 (B, K, *sites).
        invariants: the invariants of each frame by name, (B, T) each.
        failures: the reason of failure of each trajectory, or None for a completed trajectory.
        counts: the sum of the counts of all trajectories, see `Trajectory`.
    """

    states: np.ndarray
    coefficient_fields: np.ndarray
    invariants: dict[str, np.ndarray]
    failures: list[str | None]
    counts: Mapping[str, int]


class BatchedSolver(Solver):
    """A solver that also computes batches of complete trajectories in one compiled call.

    The pipeline calls `solve_batch` for all trajectories that one rank solves: a batch of many small
    trajectories, or of one large trajectory. The pipeline calls `prepare` where several ranks share a
    trajectory, and for single states.
    """

    @abstractmethod
    def solve_batch(self, batch: Sequence[Parameters], times: np.ndarray) -> TrajectoryBatch:
        """Return the trajectories of `batch` at the evenly spaced `times` (T,) from 0 s on, on one rank.

        The results equal `prepare(parameters).solve(times)` and the `invariants` of its states bit for bit.
        If `solve` raises a `DivergedError`, `failures` holds the message, and the frames that `solve` does
        not yield are NaN.
        """
