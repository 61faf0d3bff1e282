"""Runs of consecutive frames, read from memory maps of the shards: what training is fed with.

Shape letters: B windows, L frames of a window, T frames of a trajectory, C channels, K coefficient
fields, P scalar parameters; `*sites` are the grid cells or particles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data import hdf5
from pipeline.data.layout import Header, field_path

_OPEN_SHARDS = 256


@dataclass(frozen=True)
class Trajectory:
    """One trajectory in physical units: `state` (T, C, *sites), `coefficients` (K, *sites), the scalar
    `parameters` by name, the `time` (T,) of each frame, and its `index` in the data set.
    """

    state: np.ndarray
    coefficients: np.ndarray
    parameters: dict[str, float]
    time: np.ndarray
    index: int


class Shards:
    """The trajectories of a split, in several files; few of these are mapped at a time."""

    def __init__(self, header: Header, files: Sequence[Path], trajectories: Sequence[int]):
        self.header = header
        self._files = files
        self._ends = np.cumsum(trajectories, dtype=np.int64)
        self._places: dict[int, dict[str, hdf5.Place]] = {}
        self._mapped = lru_cache(maxsize=_OPEN_SHARDS)(self._map)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def row(self, number: int) -> tuple[dict[str, np.ndarray], int]:
        """The datasets of the shard that holds trajectory `number`, by path, and its row in them."""
        shard = int(np.searchsorted(self._ends, number, side="right"))
        return self._mapped(shard), int(number - (self._ends[shard - 1] if shard else 0))

    def fill(
        self, kind: str, arrays: dict[str, np.ndarray], where: tuple[Any, ...], out: np.ndarray, axis: int
    ) -> None:
        """Copies the part `where` of all `fields` or `coefficients` to `out`, channels along `axis`."""
        channel = 0
        for field in self.header.spec[kind]:
            values = arrays[field_path(field)][where]
            if field["order"]:
                values = np.moveaxis(values, -1, axis)
                width = values.shape[axis]
            else:
                values, width = np.expand_dims(values, axis), 1
            out[(slice(None),) * axis + (slice(channel, channel + width),)] = values
            channel += width

    def _map(self, shard: int) -> dict[str, np.ndarray]:
        path = self._files[shard]
        if shard not in self._places:
            self._places[shard] = hdf5.places(path)
        return hdf5.memory_maps(path, self._places[shard])


class Windows:
    """Every run of `length` consecutive frames of every trajectory of a split.

    Window `i` starts at frame `i % starts` of trajectory `i // starts`, with `starts` = T - length + 1.

    Raises:
        ValueError: a trajectory has fewer than `length` frames.
    """

    def __init__(self, shards: Shards, length: int):
        frames = len(shards.header.times)
        if not 1 <= length <= frames:
            raise ValueError(
                f"windows of {length} frames asked of trajectories of {frames}; "
                f"at most {frames - 1} steps can be rolled out: lower training.unroll or raise output.steps"
            )
        self._shards, self._length, self._starts = shards, length, frames - length + 1
        self._buffers: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._shards) * self._starts

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The windows `indices` (B,): `state` (B, L, C, *sites), `coefficients` (B, K, *sites),
        `parameters` (B, P), `time` (B, L); all in the precision of the data set.

        The arrays are views of buffers that the next call writes over.
        """
        batch = self._batch(len(indices))
        header = self._shards.header
        for place, (number, start) in enumerate(zip(*np.divmod(indices, self._starts), strict=True)):
            arrays, row = self._shards.row(number)
            frames = slice(start, start + self._length)
            self._shards.fill("fields", arrays, (row, frames), batch["state"][place], axis=1)
            self._shards.fill("coefficients", arrays, (row,), batch["coefficients"][place], axis=0)
            batch["parameters"][place] = [arrays[f"scalars/{name}"][row] for name in header.parameters]
            batch["time"][place] = header.times[frames]
        return batch

    def _batch(self, size: int) -> dict[str, np.ndarray]:
        """Views of the first `size` windows of the buffers, which grow as needed."""
        header, length = self._shards.header, self._length
        shapes = {
            "state": (length, len(header.channels("fields")), *header.sites),
            "coefficients": (len(header.channels("coefficients")), *header.sites),
            "parameters": (len(header.parameters),),
            "time": (length,),
        }
        if not self._buffers or len(self._buffers["time"]) < size:
            self._buffers = {
                name: np.empty((size, *shape), header.precision) for name, shape in shapes.items()
            }
        return {name: buffer[:size] for name, buffer in self._buffers.items()}
