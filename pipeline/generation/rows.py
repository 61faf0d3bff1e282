"""The rows of a shard as they are filled: their number, failures, statistics and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.data.format.layout import Header
from pipeline.data.manifest import Failure, StatisticsKind
from pipeline.data.running_statistics import RunningStatistics
from solvers.contract import Parameters

RowStatistics = Mapping[StatisticsKind, RunningStatistics]


@dataclass
class Rows:
    """The rows of a shard that are filled, and the trajectories that failed.

    Attributes:
        count: the number of filled rows.
        failed: the trajectories that are left out.
        counts: what solving all trajectories counted, see `solvers.contract.Trajectory`.
        statistics: of the filled rows.
    """

    count: int = 0
    failed: list[Failure] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    statistics: dict[StatisticsKind, RunningStatistics] = field(default_factory=dict)

    def add(self, count: int, stats: RowStatistics) -> None:
        """Add filled rows with their statistics."""
        self.count += count
        self.statistics = add_statistics(self.statistics, stats)

    def fail(self, index: int, reason: str, parameters: Parameters, header: Header) -> None:
        """Add a trajectory that is left out."""
        scalars = {name: float(parameters[name]) for name in header.spec.parameter_names}
        self.failed.append(Failure(index=index, reason=reason, parameters=scalars))


def add_statistics(
    total: Mapping[StatisticsKind, RunningStatistics], more: RowStatistics
) -> dict[StatisticsKind, RunningStatistics]:
    """Return the sum of statistics, kind by kind; a kind that one of them lacks is the other's."""
    return {
        **total,
        **{kind: total[kind] + stats if kind in total else stats for kind, stats in more.items()},
    }


def not_finite(what: str, header: Header, time: float) -> str:
    """Return the reason for leaving out a trajectory with a value that is not finite."""
    return f"{what} is not finite in {header.precision} at time {time:g}"
