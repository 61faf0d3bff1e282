"""The check of a receipt's statistics against the data: count, minimum, maximum, mean and deviation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np

from pipeline.data.format.layout import PREDICTABLE_TIME, FieldKind, Header
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import STATISTICS_KINDS, Receipt, StatisticsKind
from pipeline.data.running_statistics import RunningStatistics
from pipeline.data.windows import Shards

#: Frames that are read together have about this size, bytes.
_CHUNK_BYTES = 2**22
#: Sums over frames and blocks in another order differ by round-off, relative to the largest value.
_TOLERANCE = 1e-9
_REMEDY = "Delete the receipt, so that python -m pipeline.generate regenerates the shard"


def mistake(structures: Structures, path: Path, receipt: Receipt) -> str | None:
    """Return how the statistics in a receipt differ from those of its shard's file, or None.

    Only shards of the training split have statistics.
    """
    if structures.header.spec.chaotic and receipt.trajectories:
        arrays = Shards(structures, [path], [receipt.trajectories], [None]).arrays(0)
        column = arrays[f"scalars/{PREDICTABLE_TIME.name}"]
        if column.tolist() != receipt.predictable_times:
            return f"the receipt's predictable times differ from the data. {_REMEDY}"
    if receipt.split != "train" or not receipt.trajectories:
        return "the receipt has statistics of other than training data" if receipt.statistics else None
    if set(receipt.statistics) != set(STATISTICS_KINDS):
        return f"the receipt has the statistics {', '.join(receipt.statistics)} alone"
    for kind, actual in _statistics(structures, path, receipt.trajectories).items():
        difference = _difference(RunningStatistics.from_json(receipt.statistics[kind]), actual)
        if difference:
            return f"the receipt's {difference} of {kind} differs from the data. {_REMEDY}"
    return None


def _statistics(structures: Structures, path: Path, rows: int) -> dict[StatisticsKind, RunningStatistics]:
    """Return the statistics of all rows of a file."""
    header = structures.header
    shards = Shards(structures, [path], [rows], [None])
    parameters = shards.arrays(0)["parameters"].T
    return {
        "fields": _sum(_fields(header, shards, rows, 0), len(header.channels("fields"))),
        "changes": _sum(_fields(header, shards, rows, 1), len(header.channels("fields"))),
        "coefficient_fields": _sum(
            _coefficients(header, shards, rows), len(header.channels("coefficient_fields"))
        ),
        "parameters": RunningStatistics.of_trajectories(parameters.reshape(len(parameters), rows)),
    }


def _sum(parts: Iterator[np.ndarray], num_channels: int) -> RunningStatistics:
    return reduce(add, map(RunningStatistics.of, parts), RunningStatistics.empty(num_channels))


def _fields(header: Header, shards: Shards, rows: int, order: int) -> Iterator[np.ndarray]:
    """Yield the states (C, frames, *sites) of all rows in pieces, or with `order` 1 the changes of states."""
    num_frames, num_channels = len(header.times), len(header.channels("fields"))
    frame_bytes = 8 * num_channels * int(np.prod(header.spec.shape))
    size = max(_CHUNK_BYTES // frame_bytes, 1)
    for row in range(rows):
        for first in range(0, num_frames - order, size):
            frames = slice(first, min(first + size + order, num_frames))
            values = _filled(header, shards, "fields", (row, frames), frames.stop - first)
            yield np.diff(values.astype(np.float64), axis=1) if order else values


def _coefficients(header: Header, shards: Shards, rows: int) -> Iterator[np.ndarray]:
    """Yield the coefficient fields (K, *sites) of each row."""
    for row in range(rows):
        yield _filled(header, shards, "coefficient_fields", (row,), None)


def _filled(
    header: Header,
    shards: Shards,
    kind: FieldKind,
    selection: tuple[int | slice, ...],
    num_frames: int | None,
) -> np.ndarray:
    """Return a selection of all fields of a kind, channels first."""
    frames = () if num_frames is None else (num_frames,)
    values = np.empty((*frames, len(header.channels(kind)), *header.spec.shape), header.precision)
    shards.fill(kind, shards.arrays(0), selection, values, axis=len(frames))
    return np.moveaxis(values, len(frames), 0)


def _difference(recorded: RunningStatistics, actual: RunningStatistics) -> str | None:
    """Return the name of the first value that differs by more than round-off."""
    if (recorded.count, len(recorded.sum)) != (actual.count, len(actual.sum)):
        return "count"
    for name in ("minimum", "maximum"):
        if not np.array_equal(getattr(recorded, name), getattr(actual, name)):
            return name
    scale = _TOLERANCE * actual.size
    if not (np.abs(recorded.mean - actual.mean) <= scale).all():
        return "mean"
    # A variance from sums loses half of the digits of a small deviation.
    if not (np.abs(recorded.std - actual.std) <= np.sqrt(_TOLERANCE) * actual.std + scale).all():
        return "deviation"
    return None
