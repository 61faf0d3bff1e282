"""The computation of a shard's trajectories one after the other, frame by frame, on all ranks of a group.

Shape letters: C channels, K coefficient fields; `*block` are the sites of this rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.data.format.layout import PREDICTABLE_TIME, Header
from pipeline.data.format.writer import ShardWriter
from pipeline.data.plan import Shard, generator
from pipeline.data.running_statistics import RunningStatistics
from pipeline.generation.batched import BATCH_BYTES
from pipeline.generation.predictability import SecondSolution
from pipeline.generation.rows import RejectedError, Rows, add_statistics, not_finite_reason
from pipeline.parallel.groups import gather_blocks
from simsurrogate.errors import file_and_class
from solvers.contract import DivergedError, Parameters, Solver, Trajectory
from solvers.reductions import Reductions
from solvers.returned_values import check_invariants, check_quantities, check_shape, check_trajectory


@dataclass
class FrameFiller:
    """The computation of a shard's trajectories, frame by frame, on all ranks of the group."""

    solver: Solver
    header: Header
    seed: int
    progress_hook: Callable[[], None]
    _blocks: list[tuple[slice, ...]] = field(init=False)
    _sites: tuple[int, ...] = field(init=False)
    _buffer: np.ndarray = field(init=False)
    _reductions: Reductions = field(init=False)
    _second_solver: tuple[Solver, float] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._reductions = Reductions(self.header.spec, self.solver.block, self.solver.communicator)
        self._blocks = self.solver.communicator.allgather(self.solver.block)
        self._sites = tuple(axis.stop - axis.start for axis in self.solver.block)
        empty_frame = np.empty((len(self.header.spec.channels), 1, *self._sites), self.header.precision)
        num_frames = (
            1 if self._is_shared else min(len(self.header.times), max(BATCH_BYTES // empty_frame.nbytes, 1))
        )
        self._buffer = np.empty((len(empty_frame), num_frames, *self._sites), self.header.precision)
        if self.header.spec.chaotic:
            self._second_solver = self.solver.with_other_accuracy()

    @property
    def _is_shared(self) -> bool:
        """Whether several ranks share one trajectory."""
        return self.solver.communicator.size > 1

    def fill(self, shard: Shard, writer: ShardWriter | None) -> Rows:
        """Write the trajectories of a shard; return its rows. `writer` is None on all ranks but rank 0."""
        rows = Rows()
        for index in shard.indices:
            parameters = self.solver.sample(generator(self.seed, index), outside=shard.is_outside)
            trajectory = None
            try:
                trajectory = check_trajectory(self.solver, self.solver.prepare(parameters))
                self._write(writer, rows, index, trajectory, parameters)
            except DivergedError as error:
                rejected = isinstance(error, RejectedError)
                rows.add_failure(index, str(error), parameters, self.header, rejected=rejected)
            if trajectory is not None:
                rows.counts.update(trajectory.counts)
        return rows

    def _write(
        self,
        writer: ShardWriter | None,
        rows: Rows,
        index: int,
        trajectory: Trajectory,
        parameters: Parameters,
    ) -> None:
        """Write one trajectory to the next row, and add the row with the statistics of this rank's blocks."""
        row = slice(rows.count, rows.count + 1)
        second_solution = (
            SecondSolution(*self._second_solver, parameters, self.header) if self._second_solver else None
        )
        coefficients = self._in_file_precision(
            self._coefficient_fields(trajectory), "a coefficient field", 0.0
        )
        for block, values in gather_blocks(self.solver.communicator, self._blocks, coefficients):
            assert writer is not None
            writer.write_coefficients((row, *block), values[:, None])
        stats = add_statistics(
            {},
            {
                "coefficient_fields": RunningStatistics.of(coefficients),
                "parameters": self._parameter_statistics(parameters),
            },
        )
        invariants: dict[str, list[float]] = {}
        last_frame = None
        for first_frame, states in self._batches(trajectory, invariants, second_solution):
            frames = slice(first_frame, first_frame + states.shape[1])
            windows = [(frames, *block) for block in self._blocks]
            for window, values in gather_blocks(self.solver.communicator, windows, states):
                assert writer is not None
                writer.write_states((row, *window), values[:, None])
            stats = add_statistics(
                stats,
                {
                    "fields": RunningStatistics.of(states),
                    "changes": RunningStatistics.of(_changes(last_frame, states)),
                },
            )
            last_frame = states[:, -1:].copy()
        if second_solution:
            predictable_time = second_solution.predictable_time()
            invariants[PREDICTABLE_TIME.name] = [predictable_time]
            rows.predictable_times.append(predictable_time)
        if writer:
            columns = {name: np.array([values]) for name, values in invariants.items()}
            columns |= self._reductions.durations(columns, self.header.times)
            writer.write_scalars(rows.count, [index], [parameters], columns)
        rows.add(1, stats)

    def _batches(
        self,
        trajectory: Trajectory,
        invariants: dict[str, list[float]],
        second_solution: SecondSolution | None,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the index of the first frame and the states (C, frames, *block) of each batch of frames.

        All batches share one buffer. The invariants of each frame are appended to `invariants`, and the frame
        is added to the second solution.

        Raises:
            DivergedError: a value is not finite.
            TypeError: a state has another shape, the invariants have other names or are not numbers, or the
                solver yields another number of states.
        """
        batch_size, num_frames, index = self._buffer.shape[1], len(self.header.times), -1
        for index, frame in enumerate(trajectory.frames(self.header.times)):
            state = frame.state
            check_shape(trajectory, "state", state, (len(self.header.spec.channels), *self._sites))
            position = index % batch_size
            self._buffer[:, position] = self._in_file_precision(state, "the state", self.header.times[index])
            own_invariants, own_quantities = frame.invariants(), frame.quantities()
            check_invariants(trajectory, own_invariants, self.header.spec)
            check_quantities(trajectory, own_quantities, self.header.spec)
            values = {**own_invariants, **own_quantities, **self._reductions.of_state(state)}
            for name, value in values.items():
                invariants.setdefault(name, []).append(value)
            if second_solution:
                second_solution.add(state)
            self.progress_hook()
            if position == batch_size - 1 or index == num_frames - 1:
                yield index - position, self._buffer[:, : position + 1]
        if index != num_frames - 1:
            raise TypeError(
                f"{file_and_class(type(trajectory))}.solve yields {index + 1} states at {num_frames} times"
            )

    def _coefficient_fields(self, trajectory: Trajectory) -> np.ndarray:
        """Return the coefficient fields (K, *block); K is 0 if the spec has none."""
        num_channels = len(self.header.spec.coefficient_channels)
        if trajectory.coefficient_fields is None and num_channels == 0:
            return np.empty((0, *self._sites))
        expected_shape = (num_channels, *self._sites)
        check_shape(trajectory, "coefficient_fields", trajectory.coefficient_fields, expected_shape)
        assert trajectory.coefficient_fields is not None
        return trajectory.coefficient_fields

    def _in_file_precision(self, values: np.ndarray, name: str, time: float) -> np.ndarray:
        """Return the values in the precision of the file.

        Raises:
            DivergedError: a value on any rank is not finite; raised on all ranks.
        """
        with np.errstate(over="ignore"):
            stored_values = np.array(values, self.header.precision, order="C")
        is_finite = bool(np.isfinite(stored_values).all())
        if self._is_shared:
            is_finite = all(self.solver.communicator.allgather(is_finite))
        if not is_finite:
            raise DivergedError(not_finite_reason(name, self.header, time))
        return stored_values

    def _parameter_statistics(self, parameters: Parameters) -> RunningStatistics:
        """Return the statistics of the scalar parameters on rank 0 of the group, and none on other ranks."""
        names = self.header.spec.parameter_names
        if self.solver.communicator.rank != 0:
            return RunningStatistics.empty(len(names))
        return RunningStatistics.of(np.array([[float(parameters[name])] for name in names]).reshape(-1, 1))


def _changes(last_frame: np.ndarray | None, states: np.ndarray) -> np.ndarray:
    """Return the changes from frame to frame of `states` (C, frames, *block).

    The first change is the change from `last_frame` (C, 1, *block), unless `last_frame` is None.
    """
    frames = states if last_frame is None else np.concatenate([last_frame, states], axis=1)
    return np.diff(frames.astype(np.float64), axis=1)
