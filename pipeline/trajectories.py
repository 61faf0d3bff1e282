"""Computes the trajectories of one shard on a group of ranks, and writes them as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.data.files import sha256_of
from pipeline.data.layout import Header
from pipeline.data.manifest import Failure, Receipt
from pipeline.data.moments import Moments
from pipeline.data.plan import Shard, generator
from pipeline.data.shard import ShardWriter, writing
from pipeline.parallel.groups import gather_blocks
from solvers.contract import DivergedError, Parameters, Solver

MomentsByKind = dict[str, Moments]


@dataclass
class ShardMaker:
    """Makes shards of one data set with a solver; `tick` is called after every frame.

    Every rank of the solver's communicator calls `make` for the same shards; only its rank 0, the
    leader, writes.
    """

    solver: Solver
    header: Header
    folder: Path
    configuration_hash: str
    seed: int
    tick: Callable[[], None]
    _blocks: list[tuple[slice, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self._blocks = self.solver.communicator.allgather(self.solver.block)

    def make(self, shard: Shard) -> Receipt:
        """Computes and publishes one shard; the receipt is whole on the leader alone.

        A trajectory that diverges or is not finite is left out, with its reason in the receipt.
        """
        started = time.perf_counter()
        path = self.folder / shard.file
        if self._leads:
            path.parent.mkdir(parents=True, exist_ok=True)
            with writing(path, self.header, shard.count) as writer:
                indices, failed, moments = self._fill(shard, writer)
                if indices:
                    writer.publish(len(indices))
                else:
                    writer.discard()
        else:
            indices, failed, moments = self._fill(shard, None)
        written = self._leads and bool(indices)
        return Receipt(
            configuration_hash=self.configuration_hash,
            split=shard.split,
            number=shard.number,
            size=path.stat().st_size if written else 0,
            sha256=sha256_of(path) if written else "",
            indices=indices,
            failed=failed,
            moments=self._gathered(moments) if shard.split == "train" and indices else {},
            core_seconds=(time.perf_counter() - started) * self.solver.communicator.size,
        )

    @property
    def _leads(self) -> bool:
        return self.solver.communicator.rank == 0

    def _fill(
        self, shard: Shard, writer: ShardWriter | None
    ) -> tuple[list[int], list[Failure], MomentsByKind]:
        indices: list[int] = []
        failed: list[Failure] = []
        moments: MomentsByKind = {}
        for index in shard.indices:
            parameters = self.solver.sample(generator(self.seed, index), outside=shard.outside)
            try:
                found = self._trajectory(writer, len(indices), index, parameters)
            except DivergedError as error:
                drawn = {name: float(parameters[name]) for name in self.header.parameters}
                failed.append(Failure(index=index, reason=str(error), parameters=drawn))
                continue
            indices.append(index)
            moments = {kind: moments[kind] + found[kind] for kind in found} if moments else found
        return indices, failed, moments

    def _trajectory(
        self, writer: ShardWriter | None, row: int, index: int, parameters: Parameters
    ) -> MomentsByKind:
        """Writes one trajectory to a row; the moments of this rank's blocks."""
        coefficients = self._stored(self.solver.coefficients(parameters), "the coefficients", 0.0)
        for block, part in self._gathered_blocks(coefficients):
            assert writer is not None
            writer.write_coefficients(row, block, part)
        moments = {"coefficients": Moments.of(coefficients), "parameters": self._of_parameters(parameters)}
        series: dict[str, list[float]] = {}
        last = None
        for frame, state in enumerate(self._frames(parameters)):
            values = self._stored(state, "the state", self.header.times[frame])
            for block, part in self._gathered_blocks(values):
                assert writer is not None
                writer.write_state(row, frame, block, part)
            found = {"fields": Moments.of(values)}
            if last is not None:
                found["changes"] = Moments.of(values.astype(np.float64) - last)
            moments |= {kind: moments[kind] + one if kind in moments else one for kind, one in found.items()}
            for name, value in self.solver.invariants(state, parameters).items():
                series.setdefault(name, []).append(value)
            last = values
            self.tick()
        if writer:
            writer.write_scalars(
                row, index, parameters, {name: np.array(one) for name, one in series.items()}
            )
        return moments

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
        if not all(self.solver.communicator.allgather(bool(np.isfinite(stored).all()))):
            raise DivergedError(f"{what} is not finite in {self.header.precision} at time {at:g}")
        return stored

    def _gathered_blocks(self, values: np.ndarray) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        return gather_blocks(self.solver.communicator, self._blocks, values)

    def _of_parameters(self, parameters: Parameters) -> Moments:
        """One rank counts the parameters, which all ranks share."""
        if not self._leads:
            return Moments.none(len(self.header.parameters))
        return Moments.of(
            np.array([[float(parameters[name])] for name in self.header.parameters]).reshape(-1, 1)
        )

    def _gathered(self, moments: MomentsByKind) -> dict[str, dict[str, object]]:
        """The moments of the whole group's blocks, on the leader."""
        parts = self.solver.communicator.gather(moments)
        if parts is None:
            return {}
        total = parts[0]
        for part in parts[1:]:
            total = {kind: total[kind] + part[kind] for kind in total}
        return {kind: one.to_json() for kind, one in total.items()}
