"""A few numbers of each trajectory, which the comparisons between trajectories need in one place.

Every rank fills a table of the trajectories in its shards, one shard at a time. One rank joins the tables.
A trajectory of any size takes a few kilobytes.

Shape letters: N trajectories, P scalar parameters, S sums of a sketch, M measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from pipeline.data.checks.shard_under_test import ShardUnderTest
from pipeline.data.checks.trajectories import equal_rows, near_rows
from pipeline.data.checks.trajectories.first_windows import FirstWindows, first_windows
from pipeline.data.checks.trajectories.pauses import pauses
from pipeline.data.checks.trajectories.sampled_sites import row_chunks, sampled_values
from pipeline.data.format.layout import Header, field_path
from pipeline.data.plan import INDICES_PER_SPLIT

#: The measures of a field of the state, over all frames.
MEASURES = ("mean", "size", "deviation", "change", "largest")
#: The measures of a coefficient field.
COEFFICIENT_MEASURES = ("mean", "size", "deviation")


@dataclass(frozen=True)
class RowTable:
    """The numbers of some trajectories.

    Attributes:
        index: the indices of the trajectories (N,).
        shard: the position of each trajectory's shard in the plan (N,).
        hashes: see `equal_rows.hashes`, (N, 3).
        sketches: see `near_rows.sketches`, (N, S).
        measures: the measures of all fields in the order of `measure_names`, (N, M).
        parameters: the scalar parameters (N, P).
        pauses: see `pauses.pauses`, (N, 2).
        windows: the first windows, N of them.
    """

    index: np.ndarray
    shard: np.ndarray
    hashes: np.ndarray
    sketches: np.ndarray
    measures: np.ndarray
    parameters: np.ndarray
    pauses: np.ndarray
    windows: FirstWindows

    @property
    def split(self) -> np.ndarray:
        """The number of each trajectory's split in `SPLITS` (N,)."""
        return np.asarray(self.index // INDICES_PER_SPLIT)

    @classmethod
    def of(cls, shard_under_test: ShardUnderTest, position: int) -> RowTable:
        """Return the numbers of the trajectories of a shard; `position` is that of the shard in the plan."""
        header, arrays = shard_under_test.structures.header, shard_under_test.arrays
        num_rows = len(arrays["sample"])
        frame_sizes = [shard_under_test.frame_sizes[field_path(field)] for field in header.fields("fields")]
        chunks = [_measured(header, arrays, rows, frame_sizes) for rows in row_chunks(header, num_rows)]
        measures, row_pauses, windows = zip(*chunks, strict=True)
        columns = [arrays[f"scalars/{name}"] for name in header.spec.parameter_names]
        return cls(
            index=np.array(arrays["sample"]),
            shard=np.full(num_rows, position),
            hashes=equal_rows.hashes(header, arrays),
            sketches=near_rows.sketches(header, arrays),
            measures=np.concatenate(measures),
            parameters=np.array(columns, np.float64).reshape(-1, num_rows).T,
            pauses=np.concatenate(row_pauses),
            windows=FirstWindows.joined(windows),
        )

    @classmethod
    def joined(cls, tables: Sequence[RowTable]) -> RowTable | None:
        """Return the numbers of all trajectories in the order of their indices; None without tables."""
        if not tables:
            return None
        order = np.argsort(np.concatenate([table.index for table in tables]), kind="stable")
        columns = {
            field.name: np.concatenate([getattr(table, field.name) for table in tables])[order]
            for field in fields(cls)
            if field.name != "windows"
        }
        windows = FirstWindows.joined([table.windows for table in tables])
        return cls(**columns, windows=windows.taken(order))


def measure_names(header: Header) -> list[tuple[str, str]]:
    """Return the field and the measure of each column of `RowTable.measures`."""
    return [(field.name, measure) for field in header.fields("fields") for measure in MEASURES] + [
        (field.name, measure)
        for field in header.fields("coefficient_fields")
        for measure in COEFFICIENT_MEASURES
    ]


def _measured(
    header: Header, arrays: Mapping[str, np.ndarray], rows: slice, frame_sizes: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, FirstWindows]:
    """Return the measures, the pauses and the first windows of some rows of a shard."""
    states = [values.astype(np.float64) for values in sampled_values(header, arrays, "fields", rows)]
    columns = []
    sizes = [frame_size[rows].max(axis=1) for frame_size in frame_sizes]
    for values, largest in zip(states, sizes, strict=True):
        change = np.diff(values, axis=1) if values.shape[1] > 1 else np.zeros_like(values)
        columns += [
            values.mean(axis=(1, 2)),
            np.sqrt(np.mean(values**2, axis=(1, 2))),
            values.std(axis=(1, 2)),
            np.sqrt(np.mean(change**2, axis=(1, 2))),
            largest,
        ]
    for samples in sampled_values(header, arrays, "coefficient_fields", rows):
        values = samples.astype(np.float64)
        columns += [values.mean(axis=1), np.sqrt(np.mean(values**2, axis=1)), values.std(axis=1)]
    precision = float(np.finfo(header.precision).eps)
    fields = [arrays[field_path(field)][rows] for field in header.fields("fields")]
    return np.stack(columns, axis=1), pauses(states, fields, sizes, precision), first_windows(states)
