"""Computes one trajectory after the other, frame by frame, on all ranks of a group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.data.format.layout import Header
from pipeline.data.format.writer import ShardWriter
from pipeline.data.plan import Shard, generator
from pipeline.data.running_statistics import RunningStatistics
from pipeline.generation.batched import BATCH_BYTES, Rows, not_finite
from pipeline.parallel.groups import gather_blocks
from solvers.contract import DivergedError, Parameters, Solver, Trajectory


@dataclass
class FrameFiller:
    """Computes one trajectory after the other, frame by frame, on all ranks of the group."""

    solver: Solver
    header: Header
    seed: int
    tick: Callable[[], None]
    _blocks: list[tuple[slice, ...]] = field(init=False)
    _batch: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._blocks = self.solver.communicator.allgather(self.solver.block)
        sites = tuple(part.stop - part.start for part in self.solver.block)
        frame = np.empty((len(self.header.channels("fields")), 1, *sites), self.header.precision)
        frames = 1 if self._shares else min(len(self.header.times), max(BATCH_BYTES // frame.nbytes, 1))
        self._batch = np.empty((len(frame), frames, *sites), self.header.precision)

    @property
    def _shares(self) -> bool:
        return self.solver.communicator.size > 1

    def fill(self, shard: Shard, writer: ShardWriter | None) -> Rows:
        """Writes the trajectories of a shard; `writer` is the leader's."""
        rows = Rows()
        for index in shard.indices:
            parameters = self.solver.sample(generator(self.seed, index), outside=shard.outside)
            trajectory = self.solver.prepare(parameters)
            try:
                statistics = self._write(writer, rows.count, index, trajectory, parameters)
            except DivergedError as error:
                rows.fail(index, str(error), parameters, self.header)
            else:
                rows.add(1, statistics)
            rows.add_counts(trajectory.counts)
        return rows

    def _write(
        self,
        writer: ShardWriter | None,
        row: int,
        index: int,
        trajectory: Trajectory,
        parameters: Parameters,
    ) -> dict[str, RunningStatistics]:
        """Write one trajectory to a row; return the statistics of this rank's blocks."""
        rows = slice(row, row + 1)
        coefficients = self._stored(self._coefficient_fields(trajectory), "the coefficients", 0.0)
        for block, part in gather_blocks(self.solver.communicator, self._blocks, coefficients):
            assert writer is not None
            writer.write_coefficients((rows, *block), part[:, None])
        moments = {
            "coefficient_fields": RunningStatistics.of(coefficients),
            "parameters": self._of_parameters(parameters),
        }
        series: dict[str, list[float]] = {}
        last = None
        for first, states in self._batches(trajectory, series):
            frames = slice(first, first + states.shape[1])
            windows = [(frames, *block) for block in self._blocks]
            for window, part in gather_blocks(self.solver.communicator, windows, states):
                assert writer is not None
                writer.write_states((rows, *window), part[:, None])
            found = {
                "fields": RunningStatistics.of(states),
                "changes": RunningStatistics.of(_changes(last, states)),
            }
            moments |= {kind: moments[kind] + one if kind in moments else one for kind, one in found.items()}
            last = states[:, -1:].copy()
        if writer:
            invariants = {name: np.array([one]) for name, one in series.items()}
            writer.write_scalars(row, [index], [parameters], invariants)
        return moments

    def _batches(
        self, trajectory: Trajectory, series: dict[str, list[float]]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The number of its first frame and the states (C, frames, *block) of each batch, in one buffer
        again and again; the invariants of each frame are added to `series`.
        """
        size, frames = self._batch.shape[1], len(self.header.times)
        for frame, state in enumerate(trajectory.solve(self.header.times)):
            place = frame % size
            self._batch[:, place] = self._stored(state, "the state", self.header.times[frame])
            for name, value in trajectory.invariants(state).items():
                series.setdefault(name, []).append(value)
            self.tick()
            if place == size - 1 or frame == frames - 1:
                yield frame - place, self._batch[:, : place + 1]

    def _coefficient_fields(self, trajectory: Trajectory) -> np.ndarray:
        if trajectory.coefficient_fields is not None:
            return trajectory.coefficient_fields
        return np.empty((0, *self._batch.shape[2:]))

    def _stored(self, values: np.ndarray, what: str, at: float) -> np.ndarray:
        """The values as they will stand in the file.

        Raises:
            DivergedError: on every rank, where one value on any rank is not finite.
        """
        with np.errstate(over="ignore"):
            stored = np.array(values, self.header.precision, order="C")
        finite = bool(np.isfinite(stored).all())
        if self._shares:
            finite = all(self.solver.communicator.allgather(finite))
        if not finite:
            raise DivergedError(not_finite(what, self.header, at))
        return stored

    def _of_parameters(self, parameters: Parameters) -> RunningStatistics:
        """One rank counts the parameters, which all ranks share."""
        if self.solver.communicator.rank != 0:
            return RunningStatistics.none(len(self.header.spec.parameters))
        return RunningStatistics.of(
            np.array([[float(parameters[name])] for name in self.header.spec.parameter_names]).reshape(-1, 1)
        )


def _changes(last: np.ndarray | None, states: np.ndarray) -> np.ndarray:
    """From frame to frame of `states` (C, frames, *block), and to their first from the frame `last`
    before it, where there is one.
    """
    joined = states if last is None else np.concatenate([last, states], axis=1)
    return np.diff(joined.astype(np.float64), axis=1)
