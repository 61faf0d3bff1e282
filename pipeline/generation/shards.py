"""The computation and writing of shards on a group of ranks."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, reduce
from pathlib import Path

from threadpoolctl import threadpool_limits

from pipeline.data.format.layout import Header
from pipeline.data.format.writer import ShardWriter, open_writer
from pipeline.data.manifest import Receipt, StatisticsKind
from pipeline.data.origin import Origin
from pipeline.data.plan import Shard
from pipeline.data.running_statistics import PlainStatistics
from pipeline.generation.batched import BatchFiller, solves_batches
from pipeline.generation.compilation import compile_clock
from pipeline.generation.frames import FrameFiller
from pipeline.generation.rows import Rows, add_statistics
from simsurrogate.files import sha256_of, writable_folder
from simsurrogate.machine import processor_name
from solvers.contract import Solver


@cache
def machine() -> str:
    """Return the processor and the versions of the numerical packages, which determine the last bits."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "scipy", "numba")]
    return ", ".join([platform.machine(), processor_name(), *versions])


@dataclass
class ShardMaker:
    """The maker of a data set's shards with one solver.

    Every rank of the solver's communicator calls `make` for the same shards; only rank 0 writes.
    `progress_hook` is called after every frame or batch. `counts` sums the counts of all trajectories.
    `origin` is recorded in each receipt.
    """

    solver: Solver
    header: Header
    folder: Path
    configuration_hash: str
    seed: int
    progress_hook: Callable[[], None]
    origin: Origin | None = None
    counts: Counter[str] = field(default_factory=Counter)
    _fill: Callable[[Shard, ShardWriter | None], Rows] = field(init=False)

    def __post_init__(self) -> None:
        if solves_batches(self.solver):
            self._fill = BatchFiller(self.solver, self.header, self.seed, self.progress_hook).fill
        else:
            self._fill = FrameFiller(self.solver, self.header, self.seed, self.progress_hook).fill

    def make(self, shard: Shard) -> Receipt:
        """Compute and publish one shard; return its receipt, which is complete on rank 0 only.

        A trajectory that diverges or is not finite is left out, with its reason in the receipt. BLAS uses one
        thread, because the last bits of a product depend on the number of threads.

        Raises:
            StorageError: the file cannot be written.
        """
        with threadpool_limits(1, "blas"), compile_clock() as compile_seconds:
            return self._make(shard, compile_seconds)

    def _make(self, shard: Shard, compile_seconds: Callable[[], float]) -> Receipt:
        start_seconds = time.perf_counter()
        path = self.folder / shard.file
        if self.solver.communicator.rank == 0:
            writable_folder(path.parent)
            with open_writer(path, self.header, shard.count) as writer:
                rows = self._fill(shard, writer)
                if rows.count:
                    writer.publish(rows.count)
                else:
                    writer.discard()
            is_written = bool(rows.count)
        else:
            rows, is_written = self._fill(shard, None), False
        self.counts.update(rows.counts)
        return Receipt(
            configuration_hash=self.configuration_hash,
            split=shard.split,
            number=shard.number,
            size=path.stat().st_size if is_written else 0,
            sha256=sha256_of(path) if is_written else "",
            first=shard.first,
            drawn=shard.count,
            failed=rows.failures,
            ranks=self.solver.communicator.size,
            machine=machine(),
            predictable_times=rows.predictable_times,
            origin=self.origin,
            statistics=self._gather(rows) if shard.split == "train" and rows.count else {},
            core_seconds=self.solver.communicator.size
            * (time.perf_counter() - start_seconds - compile_seconds()),
        )

    def _gather(self, rows: Rows) -> dict[StatisticsKind, PlainStatistics]:
        """Return the statistics of the blocks of all ranks on rank 0, and none on other ranks."""
        statistics_by_rank = self.solver.communicator.gather(rows.statistics)
        if statistics_by_rank is None:
            return {}
        group_statistics = reduce(add_statistics, statistics_by_rank)
        return {kind: stats.to_json() for kind, stats in group_statistics.items()}
