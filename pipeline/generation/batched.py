"""The computation of a shard's trajectories in batches, for solvers that solve whole batches on one rank.

Shape letters: B trajectories, T frames, C channels, K coefficient fields; `*sites` as in the spec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeGuard

import numpy as np

from pipeline.data.format.layout import PREDICTABLE_TIME, Header
from pipeline.data.format.writer import ShardWriter
from pipeline.data.plan import Shard, generator
from pipeline.data.running_statistics import RunningStatistics
from pipeline.generation.predictability import predictable_times, squares
from pipeline.generation.rows import Rows, not_finite_reason
from solvers.batches import BatchedSolver, TrajectoryBatch
from solvers.contract import Parameters, Solver
from solvers.reductions import Reductions
from solvers.returned_values import check_invariants

#: The size (bytes) of the states that a rank collects before writing. A larger trajectory is one batch.
BATCH_BYTES = 2**22


def solves_batches(solver: Solver) -> TypeGuard[BatchedSolver]:
    """Return whether one rank solves whole batches of trajectories with this solver."""
    return solver.communicator.size == 1 and isinstance(solver, BatchedSolver)


@dataclass
class BatchFiller:
    """The computation of a shard's trajectories in batches of `BATCH_BYTES`, on one rank."""

    solver: BatchedSolver
    header: Header
    seed: int
    progress_hook: Callable[[], None]
    _reductions: Reductions = field(init=False)
    _second_solver: tuple[BatchedSolver, float] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._reductions = Reductions(self.header.spec, self.solver.block, self.solver.communicator)
        if self.header.spec.chaotic:
            second_solver, share = self.solver.with_other_accuracy()
            assert isinstance(second_solver, BatchedSolver)
            self._second_solver = second_solver, share

    def fill(self, shard: Shard, writer: ShardWriter | None) -> Rows:
        """Write the trajectories of a shard; return its rows."""
        assert writer is not None
        rows = Rows()
        batch_size = max(BATCH_BYTES // _bytes_of_trajectory(self.header), 1)
        for start in range(0, shard.count, batch_size):
            indices = shard.indices[start : start + batch_size]
            parameters = [
                self.solver.sample(generator(self.seed, index), shard.is_outside) for index in indices
            ]
            batch = self.solver.solve_batch(parameters, self.header.times)
            shape = (len(indices), len(self.header.times))
            check_invariants(self.solver, batch.invariants, self.header.spec, shape)
            self._write(writer, rows, indices, parameters, batch)
            rows.counts.update(batch.counts)
            self.progress_hook()
        return rows

    def _columns(self, parameters: Sequence[Parameters], batch: TrajectoryBatch) -> dict[str, np.ndarray]:
        """Return invariants, quantities and predictable times of a batch, a row for each trajectory."""
        columns = batch.invariants | self._reductions.of_states(batch.states)
        columns |= self._reductions.durations(columns, self.header.times)
        if self._second_solver is None:
            return columns
        second_solver, share = self._second_solver
        others = second_solver.solve_batch(parameters, self.header.times)
        norms = squares(batch.states, others.states, self.header.spec)
        return columns | {PREDICTABLE_TIME.name: predictable_times(norms, share, self.header.times)}

    def _write(
        self,
        writer: ShardWriter,
        rows: Rows,
        indices: Sequence[int],
        parameters: Sequence[Parameters],
        batch: TrajectoryBatch,
    ) -> None:
        """Write the successful trajectories of a batch after the filled rows, and record the failures."""
        states = self._in_file_precision(batch.states, channel_axis=2)
        coefficients = self._in_file_precision(batch.coefficient_fields, channel_axis=1)
        successful_positions = []
        for position, failure in enumerate(batch.failures):
            reason = failure or self._failure_reason(coefficients[:, position], states[:, position])
            if reason:
                rows.add_failure(indices[position], reason, parameters[position], self.header)
            else:
                successful_positions.append(position)
        if not successful_positions:
            return
        states, coefficients = states[:, successful_positions], coefficients[:, successful_positions]
        columns = {
            name: values[successful_positions] for name, values in self._columns(parameters, batch).items()
        }
        parameters = [parameters[position] for position in successful_positions]
        new_rows = slice(rows.count, rows.count + len(successful_positions))
        frames, *sites = (slice(0, size) for size in (len(self.header.times), *self.header.spec.shape))
        writer.write_coefficients((new_rows, *sites), coefficients)
        writer.write_states((new_rows, frames, *sites), states)
        successful_indices = [indices[position] for position in successful_positions]
        writer.write_scalars(rows.count, successful_indices, parameters, columns)
        rows.predictable_times += columns.get(PREDICTABLE_TIME.name, np.empty(0)).tolist()
        names = self.header.spec.parameter_names
        scalars = np.array([[float(trajectory[name]) for trajectory in parameters] for name in names])
        rows.add(
            len(successful_positions),
            {
                "coefficient_fields": RunningStatistics.of_trajectories(coefficients),
                "parameters": RunningStatistics.of_trajectories(
                    np.array(scalars).reshape(-1, len(successful_positions))
                ),
                "fields": RunningStatistics.of_trajectories(states),
                "changes": RunningStatistics.of_trajectories(np.diff(states.astype(np.float64), axis=2)),
            },
        )

    def _in_file_precision(self, values: np.ndarray, channel_axis: int) -> np.ndarray:
        """Return the values in the precision of the file, channels first."""
        with np.errstate(over="ignore"):
            return np.array(np.moveaxis(values, channel_axis, 0), self.header.precision, order="C")

    def _failure_reason(self, coefficients: np.ndarray, states: np.ndarray) -> str | None:
        """Return the reason to leave out a trajectory, or None; `states` has the shape (C, T, *sites)."""
        if not np.isfinite(coefficients).all():
            return not_finite_reason("a coefficient field", self.header, 0.0)
        is_finite = np.isfinite(states).all(axis=(0, *range(2, states.ndim)))
        if is_finite.all():
            return None
        return not_finite_reason("the state", self.header, self.header.times[int(np.argmin(is_finite))])


def _bytes_of_trajectory(header: Header) -> int:
    """Return the size of the states of a trajectory, bytes."""
    count = len(header.times) * len(header.spec.channels) * prod(header.spec.shape)
    return count * np.dtype(header.precision).itemsize
