"""The rows of a shard: their number, failures, statistics and counts, and the shapes of their parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.data.format.layout import Header
from pipeline.data.manifest import Failure, StatisticsKind
from pipeline.data.plan import generator, index
from pipeline.data.running_statistics import RunningStatistics
from solvers.contract import DivergedError, Parameters, Solver


class RejectedError(DivergedError):
    """A trajectory that was computed, and that its verification leaves out."""


RowStatistics = Mapping[StatisticsKind, RunningStatistics]


@dataclass
class Rows:
    """The filled rows of a shard, and the failed trajectories.

    Attributes:
        count: the number of filled rows.
        failures: the failed trajectories, which have no row.
        counts: the sum of the counts of all trajectories, see `solvers.contract.Trajectory`.
        statistics: the statistics of the filled rows.
        predictable_times: the predictable time of each filled row (s), if the spec is `chaotic`.
    """

    count: int = 0
    failures: list[Failure] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    statistics: dict[StatisticsKind, RunningStatistics] = field(default_factory=dict)
    predictable_times: list[float] = field(default_factory=list)

    def add(self, count: int, stats: RowStatistics) -> None:
        """Add filled rows with their statistics."""
        self.count += count
        self.statistics = add_statistics(self.statistics, stats)

    def add_failure(
        self, index: int, reason: str, parameters: Parameters, header: Header, *, rejected: bool = False
    ) -> None:
        """Record a failed trajectory, or one that its verification has `rejected`."""
        scalars = {name: float(parameters[name]) for name in header.spec.parameter_names}
        self.failures.append(Failure(index=index, reason=reason, parameters=scalars, rejected=rejected))


def add_statistics(first: RowStatistics, second: RowStatistics) -> dict[StatisticsKind, RunningStatistics]:
    """Return the sum of the statistics of each kind. A kind in only one mapping keeps its statistics."""
    sums = {kind: first[kind] + stats if kind in first else stats for kind, stats in second.items()}
    return {**first, **sums}


def parameter_shapes(solver: Solver, seed: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters that are arrays, from one draw."""
    parameters = solver.sample(generator(seed, index("train", 0)))
    scalars = set(solver.spec.parameter_names)
    return {name: np.shape(value) for name, value in parameters.items() if name not in scalars}


def not_finite_reason(quantity: str, header: Header, time: float) -> str:
    """Return the reason to leave out a trajectory with a value that is not finite at `time`, s."""
    return f"{quantity} is not finite in {header.precision} at time {time:g}"
