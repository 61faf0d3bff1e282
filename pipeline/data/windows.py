"""Windows, runs of consecutive frames for training, read from memory maps of the shards.

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

from pipeline.data.format import hdf5
from pipeline.data.format.layout import FIELD_KINDS, FieldKind, Header, field_path
from simsurrogate.errors import UserError

_OPEN_SHARDS = 256


@dataclass(frozen=True)
class StoredTrajectory:
    """One trajectory of a data set, as a copy in memory, in physical units.

    Attributes:
        state: (T, C, *sites).
        coefficient_fields: (K, *sites).
        parameters: the scalar parameters by name.
        arrays: the arrays that determine the trajectory next to the scalar parameters, by name.
        time: the time of each frame (T,), s.
        index: the trajectory's index in the data set.
    """

    state: np.ndarray
    coefficient_fields: np.ndarray
    parameters: dict[str, float]
    arrays: dict[str, np.ndarray]
    time: np.ndarray
    index: int


class Shards:
    """The trajectories of a split, in several files; at most 256 of them are mapped at a time."""

    def __init__(self, header: Header, files: Sequence[Path], trajectories: Sequence[int]):
        self.header = header
        self._files = files
        self._ends = np.cumsum(trajectories, dtype=np.int64)
        self._places: dict[int, dict[str, hdf5.Place]] = {}
        self._channels = {kind: _channels(header, kind) for kind in FIELD_KINDS}
        self.arrays = lru_cache(maxsize=_OPEN_SHARDS)(self._arrays)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def locate(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the shard of each trajectory, an argument of `arrays`, and its row there."""
        shard = np.searchsorted(self._ends, numbers, side="right")
        return shard, numbers - np.concatenate([[0], self._ends])[shard]

    def fill(
        self,
        kind: FieldKind,
        arrays: dict[str, np.ndarray],
        where: tuple[Any, ...],
        out: np.ndarray,
        axis: int,
    ) -> None:
        """Copy the part `where` of all fields of a kind to `out`, channels along `axis`."""
        before = (slice(None),) * axis
        for path, channel in self._channels[kind]:
            values = arrays[path][where]
            if isinstance(channel, slice):
                values = np.moveaxis(values, -1, axis)
            out[(*before, channel)] = values

    def _arrays(self, shard: int) -> dict[str, np.ndarray]:
        """Return the datasets of a shard by path, and all scalar parameters (rows, P) under `parameters`."""
        path = self._files[shard]
        if shard not in self._places:
            self._places[shard] = hdf5.places(path)
        arrays = hdf5.memory_maps(path, self._places[shard])
        rows = len(arrays["sample"])
        columns = [arrays[f"scalars/{name}"] for name in self.header.spec.parameter_names]
        return arrays | {"parameters": np.array(columns).reshape(-1, rows).T}


class Windows:
    """Every run of `length` consecutive frames of every trajectory of a split.

    Window `i` starts at frame `i % starts` of trajectory `i // starts`, with `starts` = T - length + 1.

    Raises:
        UserError: a trajectory has fewer than `length` frames.
    """

    def __init__(self, shards: Shards, length: int):
        frames = len(shards.header.times)
        if not 1 <= length <= frames:
            raise UserError(
                f"windows of {length} frames asked of trajectories of {frames}; "
                f"at most {frames - 1} steps can be rolled out: lower training.unroll or raise output.steps"
            )
        self._shards, self._length, self._starts = shards, length, frames - length + 1
        self._buffers: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._shards) * self._starts

    def places(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the trajectory of each window, counted from 0 in its split, and its first frame."""
        numbers, starts = np.divmod(indices, self._starts)
        return numbers, starts

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the windows `indices` (B,): `state` (B, L, C, *sites), `coefficient_fields` (B, K, *sites),
        `parameters` (B, P), `time` (B, L); all in the precision of the data set.

        The arrays are views of buffers; the next call overwrites them.
        """
        batch, shards = self._batch(len(indices)), self._shards
        numbers, starts = self.places(indices)
        batch["time"][...] = shards.header.times[starts[:, None] + np.arange(self._length)]
        fields = zip(*(one.tolist() for one in (*shards.locate(numbers), starts)), strict=True)
        for place, (shard, row, start) in enumerate(fields):
            arrays = shards.arrays(shard)
            frames = slice(start, start + self._length)
            shards.fill("fields", arrays, (row, frames), batch["state"][place], axis=1)
            shards.fill("coefficient_fields", arrays, (row,), batch["coefficient_fields"][place], axis=0)
            batch["parameters"][place] = arrays["parameters"][row]
        return batch

    def _batch(self, size: int) -> dict[str, np.ndarray]:
        """Return views of the first `size` windows of the buffers; enlarge the buffers where needed."""
        header, length = self._shards.header, self._length
        shapes = {
            "state": (length, len(header.channels("fields")), *header.spec.shape),
            "coefficient_fields": (len(header.channels("coefficient_fields")), *header.spec.shape),
            "parameters": (len(header.spec.parameters),),
            "time": (length,),
        }
        if not self._buffers or len(self._buffers["time"]) < size:
            self._buffers = {
                name: np.empty((size, *shape), header.precision) for name, shape in shapes.items()
            }
        return {name: buffer[:size] for name, buffer in self._buffers.items()}


def _channels(header: Header, kind: FieldKind) -> list[tuple[str, int | slice]]:
    """Return the path of each field in the file, and its channel, or its channels if it is a vector."""
    fields: list[tuple[str, int | slice]] = []
    channel = 0
    for field in header.fields(kind):
        width = len(header.spec.components(field))
        fields.append((field_path(field), slice(channel, channel + width) if field.tensor_order else channel))
        channel += width
    return fields
