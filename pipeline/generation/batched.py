"""Computes the trajectories of one shard many at a time, where each is small and solved by one rank.

Shape letters: B trajectories, T frames, C channels, K coefficient fields; `*sites` as in the spec.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeGuard

import numpy as np

from pipeline.data.format.layout import Header
from pipeline.data.format.writer import ShardWriter
from pipeline.data.manifest import Failure
from pipeline.data.plan import Shard, generator
from pipeline.data.running_statistics import RunningStatistics
from solvers.contract import BatchedSolver, Parameters, Solver, TrajectoryBatch

#: What a rank gathers of states before it writes them.
BATCH_BYTES = 2**22


@dataclass
class Rows:
    """What came of a shard's trajectories: how many rows were filled, what failed, and the moments."""

    count: int = 0
    failed: list[Failure] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    moments: dict[str, RunningStatistics] = field(default_factory=dict)

    def add(self, count: int, found: dict[str, RunningStatistics]) -> None:
        """Counts rows, with the moments of what stands in them."""
        self.count += count
        self.moments = {kind: self.moments[kind] + found[kind] for kind in found} if self.moments else found

    def add_counts(self, counts: Mapping[str, int]) -> None:
        """Add what solving trajectories counted."""
        self.counts.update(counts)

    def fail(self, index: int, reason: str, parameters: Parameters, header: Header) -> None:
        """Notes a trajectory that is left out."""
        drawn = {name: float(parameters[name]) for name in header.spec.parameter_names}
        self.failed.append(Failure(index=index, reason=reason, parameters=drawn))


def fits(solver: Solver, header: Header) -> TypeGuard[BatchedSolver]:
    """Whether the solver computes ensembles, and a batch holds at least two trajectories."""
    alone = solver.communicator.size == 1
    return alone and isinstance(solver, BatchedSolver) and 2 * _bytes_of_trajectory(header) <= BATCH_BYTES


@dataclass
class BatchFiller:
    """Computes a shard's trajectories in ensembles of `BATCH_BYTES`, on one rank."""

    solver: BatchedSolver
    header: Header
    seed: int
    tick: Callable[[], None]

    def fill(self, shard: Shard, writer: ShardWriter | None) -> Rows:
        """Writes the trajectories of a shard."""
        assert writer is not None
        rows = Rows()
        size = BATCH_BYTES // _bytes_of_trajectory(self.header)
        for start in range(0, shard.count, size):
            indices = shard.indices[start : start + size]
            parameters = [self.solver.sample(generator(self.seed, one), shard.outside) for one in indices]
            batch = self.solver.solve_batch(parameters, self.header.times)
            self._write(writer, rows, indices, parameters, batch)
            rows.add_counts(batch.counts)
            self.tick()
        return rows

    def _write(
        self,
        writer: ShardWriter,
        rows: Rows,
        indices: Sequence[int],
        parameters: Sequence[Parameters],
        batch: TrajectoryBatch,
    ) -> None:
        """Appends the trajectories that did not fail."""
        states = self._stored(batch.states, channels=2)
        coefficients = self._stored(batch.coefficient_fields, channels=1)
        kept = []
        for place, failure in enumerate(batch.failures):
            reason = failure or self._not_finite(coefficients[:, place], states[:, place])
            if reason:
                rows.fail(indices[place], reason, parameters[place], self.header)
            else:
                kept.append(place)
        if not kept:
            return
        states, coefficients = states[:, kept], coefficients[:, kept]
        parameters = [parameters[place] for place in kept]
        taken = slice(rows.count, rows.count + len(kept))
        frames, *sites = (slice(0, size) for size in (len(self.header.times), *self.header.spec.shape))
        writer.write_coefficients((taken, *sites), coefficients)
        writer.write_states((taken, frames, *sites), states)
        series = {name: values[kept] for name, values in batch.invariants.items()}
        writer.write_scalars(rows.count, [indices[place] for place in kept], parameters, series)
        drawn = [[float(one[name]) for one in parameters] for name in self.header.spec.parameter_names]
        found = {
            "coefficient_fields": RunningStatistics.of(coefficients),
            "parameters": RunningStatistics.of(np.array(drawn).reshape(-1, len(kept))),
            "fields": RunningStatistics.of(states),
            "changes": RunningStatistics.of(np.diff(states.astype(np.float64), axis=2)),
        }
        rows.add(len(kept), found)

    def _stored(self, values: np.ndarray, channels: int) -> np.ndarray:
        """The values as they will stand in the file, the axis `channels` first."""
        with np.errstate(over="ignore"):
            return np.array(np.moveaxis(values, channels, 0), self.header.precision, order="C")

    def _not_finite(self, coefficients: np.ndarray, states: np.ndarray) -> str | None:
        """Why a trajectory, `states` (C, T, *sites), cannot be kept, if it cannot."""
        if not np.isfinite(coefficients).all():
            return not_finite("the coefficients", self.header, 0.0)
        finite = np.isfinite(states).all(axis=(0, *range(2, states.ndim)))
        if finite.all():
            return None
        return not_finite("the state", self.header, self.header.times[int(np.argmin(finite))])


def not_finite(what: str, header: Header, at: float) -> str:
    """The reason for leaving out a trajectory that has a value which is not finite."""
    return f"{what} is not finite in {header.precision} at time {at:g}"


def _bytes_of_trajectory(header: Header) -> int:
    numbers = len(header.times) * len(header.channels("fields")) * prod(header.spec.shape)
    return numbers * np.dtype(header.precision).itemsize
