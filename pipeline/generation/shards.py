"""Computes the trajectories of one shard on a group of ranks, and writes them as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.data.format.layout import Header
from pipeline.data.format.writer import ShardWriter, writing
from pipeline.data.manifest import Receipt
from pipeline.data.plan import Shard, generator
from pipeline.data.running_statistics import Moments
from pipeline.generation.batched import BATCH_BYTES, EnsembleFiller, Rows, fits, not_finite
from pipeline.parallel.groups import gather_blocks
from simsurrogate.files import sha256_of
from solvers.contract import DivergedError, Parameters, Solver


@dataclass
class ShardMaker:
    """Makes shards of one data set with a solver; `tick` is called after every frame or ensemble.

    Every rank of the solver's communicator calls `make` for the same shards; only its rank 0, the
    leader, writes.
    """

    solver: Solver
    header: Header
    folder: Path
    configuration_hash: str
    seed: int
    tick: Callable[[], None]
    _fill: Callable[[Shard, ShardWriter | None], Rows] = field(init=False)

    def __post_init__(self) -> None:
        if fits(self.solver, self.header):
            self._fill = EnsembleFiller(self.solver, self.header, self.seed, self.tick).fill
        else:
            self._fill = _FrameFiller(self.solver, self.header, self.seed, self.tick).fill

    def make(self, shard: Shard) -> Receipt:
        """Computes and publishes one shard; the receipt is whole on the leader alone.

        A trajectory that diverges or is not finite is left out, with its reason in the receipt.
        """
        started = time.perf_counter()
        path = self.folder / shard.file
        if self.solver.communicator.rank == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            with writing(path, self.header, shard.count) as writer:
                rows = self._fill(shard, writer)
                if rows.count:
                    writer.publish(rows.count)
                else:
                    writer.discard()
            written = bool(rows.count)
        else:
            rows, written = self._fill(shard, None), False
        return Receipt(
            configuration_hash=self.configuration_hash,
            split=shard.split,
            number=shard.number,
            size=path.stat().st_size if written else 0,
            sha256=sha256_of(path) if written else "",
            first=shard.first,
            drawn=shard.count,
            failed=rows.failed,
            moments=self._gathered(rows) if shard.split == "train" and rows.count else {},
            core_seconds=(time.perf_counter() - started) * self.solver.communicator.size,
        )

    def _gathered(self, rows: Rows) -> dict[str, dict[str, object]]:
        """The moments of the whole group's blocks, on the leader."""
        parts = self.solver.communicator.gather(rows.moments)
        if parts is None:
            return {}
        total = parts[0]
        for part in parts[1:]:
            total = {kind: total[kind] + part[kind] for kind in total}
        return {kind: one.to_json() for kind, one in total.items()}


@dataclass
class _FrameFiller:
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
            try:
                found = self._trajectory(writer, rows.count, index, parameters)
            except DivergedError as error:
                rows.fail(index, str(error), parameters, self.header)
            else:
                rows.add(1, found)
        return rows

    def _trajectory(
        self, writer: ShardWriter | None, row: int, index: int, parameters: Parameters
    ) -> dict[str, Moments]:
        """Writes one trajectory to a row; the moments of this rank's blocks."""
        rows = slice(row, row + 1)
        coefficients = self._stored(self.solver.coefficients(parameters), "the coefficients", 0.0)
        for block, part in gather_blocks(self.solver.communicator, self._blocks, coefficients):
            assert writer is not None
            writer.write_coefficients((rows, *block), part[:, None])
        moments = {"coefficients": Moments.of(coefficients), "parameters": self._of_parameters(parameters)}
        series: dict[str, list[float]] = {}
        last = None
        for first, states in self._batches(parameters, series):
            frames = slice(first, first + states.shape[1])
            windows = [(frames, *block) for block in self._blocks]
            for window, part in gather_blocks(self.solver.communicator, windows, states):
                assert writer is not None
                writer.write_states((rows, *window), part[:, None])
            found = {"fields": Moments.of(states), "changes": Moments.of(_changes(last, states))}
            moments |= {kind: moments[kind] + one if kind in moments else one for kind, one in found.items()}
            last = states[:, -1:].copy()
        if writer:
            invariants = {name: np.array([one]) for name, one in series.items()}
            writer.write_scalars(row, [index], [parameters], invariants)
        return moments

    def _batches(
        self, parameters: Parameters, series: dict[str, list[float]]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The number of its first frame and the states (C, frames, *block) of each batch, in one buffer
        again and again; the invariants of each frame are added to `series`.
        """
        size, frames = self._batch.shape[1], len(self.header.times)
        for frame, state in enumerate(self._frames(parameters)):
            place = frame % size
            self._batch[:, place] = self._stored(state, "the state", self.header.times[frame])
            for name, value in self.solver.invariants(state, parameters).items():
                series.setdefault(name, []).append(value)
            self.tick()
            if place == size - 1 or frame == frames - 1:
                yield frame - place, self._batch[:, : place + 1]

    def _frames(self, parameters: Parameters) -> Iterator[np.ndarray]:
        times = self.header.times
        state = self.solver.initial_state(parameters)
        yield state
        for start in times[:-1]:
            state = self.solver.advance(state, parameters, float(start), float(times[-1]) / (len(times) - 1))
            yield state

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

    def _of_parameters(self, parameters: Parameters) -> Moments:
        """One rank counts the parameters, which all ranks share."""
        if self.solver.communicator.rank != 0:
            return Moments.none(len(self.header.parameters))
        return Moments.of(
            np.array([[float(parameters[name])] for name in self.header.parameters]).reshape(-1, 1)
        )


def _changes(last: np.ndarray | None, states: np.ndarray) -> np.ndarray:
    """From frame to frame of `states` (C, frames, *block), and to their first from the frame `last`
    before it, where there is one.
    """
    joined = states if last is None else np.concatenate([last, states], axis=1)
    return np.diff(joined.astype(np.float64), axis=1)
