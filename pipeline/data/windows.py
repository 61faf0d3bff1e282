"""Windows of consecutive frames for training, read from memory maps of the shards.

Shape letters: B windows, L frames of a window, T frames of a trajectory, C channels, K coefficient
fields, P scalar parameters; `*sites` are the grid cells or particles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.data.format import hdf5
from pipeline.data.format.layout import FIELD_KINDS, FieldKind, Header, field_path
from pipeline.data.format.structure import Structures
from simsurrogate.errors import UserError
from simsurrogate.files import sha256_of

_MAX_OPEN_SHARDS = 256

#: Indices into a dataset: a row, then a frame or a slice of frames.
Selection = tuple[int | np.integer | slice, ...]


@dataclass(frozen=True)
class StoredTrajectory:
    """One trajectory of a data set, as a copy in memory, in physical units.

    Attributes:
        state: (T, C, *sites).
        coefficient_fields: (K, *sites).
        parameters: the scalar parameters by name.
        arrays: the parameters that are arrays, by name.
        time: the time of each frame (T,), s.
        index: the trajectory's index in the data set.
        predictable_time: the time (s) until which the error of the steps in time stays below 1 %; None unless
            the spec is `chaotic`.
    """

    state: np.ndarray
    coefficient_fields: np.ndarray
    parameters: dict[str, float]
    arrays: dict[str, np.ndarray]
    time: np.ndarray
    index: int
    predictable_time: float | None

    def __repr__(self) -> str:
        frames, channels, *sites = self.state.shape
        parameters = ", ".join(f"{name}={value:.4g}" for name, value in self.parameters.items())
        return (
            f"StoredTrajectory {self.index}: {frames} frames from {self.time[0]:g} to {self.time[-1]:g} s, "
            f"{channels} channels, {'x'.join(map(str, sites))} sites; {parameters or 'no scalar parameters'}"
        )


class Shards:
    """The trajectories of a split, in several files; at most 256 files are mapped at a time.

    Args:
        structures: the verified structures, with the description that all shards share.
        files: the path of each shard.
        trajectories: the number of trajectories in each shard.
        checksums: the checksum to compare with when a shard is first read; None for a shard that is known.
    """

    def __init__(
        self,
        structures: Structures,
        files: Sequence[Path],
        trajectories: Sequence[int],
        checksums: Sequence[str | None],
    ):
        self.header = header = structures.header
        self._arguments = (structures, files, trajectories, checksums)
        self._structures, self._files, self._trajectories, self._checksums = self._arguments
        self._ends = np.cumsum(trajectories, dtype=np.int64)
        self._locations: dict[int, dict[str, hdf5.DatasetLocation]] = {}
        self._channels = {kind: _channels_of_fields(header, kind) for kind in FIELD_KINDS}
        self.arrays = lru_cache(maxsize=_MAX_OPEN_SHARDS)(self._arrays)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def num_shards(self) -> int:
        """The number of shards."""
        return len(self._files)

    def __reduce__(self) -> tuple[type[Shards], tuple[object, ...]]:
        """Return what pickle needs in another process: no memory map."""
        return Shards, self._arguments

    def locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the shard (an argument of `arrays`) and the row of each trajectory, from its position."""
        shard = np.searchsorted(self._ends, positions, side="right")
        return shard, positions - np.concatenate([[0], self._ends])[shard]

    def fill(
        self,
        kind: FieldKind,
        arrays: dict[str, np.ndarray],
        selection: Selection,
        out: np.ndarray,
        axis: int,
    ) -> None:
        """Copy a selection of rows and frames of all fields of a kind to `out`, channels along `axis`."""
        leading_axes = (slice(None),) * axis
        for path, channel in self._channels[kind]:
            values = arrays[path][selection]
            if isinstance(channel, slice):
                values = np.moveaxis(values, -1, axis)
            out[(*leading_axes, channel)] = values

    def _arrays(self, shard: int) -> dict[str, np.ndarray]:
        """Return the datasets of a shard by path, and all scalar parameters (rows, P) as `parameters`."""
        path = self._files[shard]
        if shard not in self._locations:
            self._check(path, self._checksums[shard])
            self._locations[shard] = self._structures.locations(path, self._trajectories[shard])
        arrays = hdf5.memory_maps(path, self._locations[shard])
        rows = len(arrays["sample"])
        columns = [arrays[f"scalars/{name}"] for name in self.header.spec.parameter_names]
        return arrays | {"parameters": np.array(columns).reshape(-1, rows).T}

    def _check(self, path: Path, checksum: str | None) -> None:
        """Raise `UserError` if the file has another checksum."""
        if checksum is not None and (actual := sha256_of(path)) != checksum:
            raise UserError(
                f"{path} was changed after its validation: SHA-256 {actual} found, {checksum} expected. Run "
                "python -m pipeline.generate again, then python -m pipeline.validate"
            )


class Windows:
    """All sequences of `length` consecutive frames of the trajectories of a split.

    A `Windows` is a data set for torch's `DataLoader`: it has a length, items that are copies, and a pickle
    without memory maps. Window `i` starts at frame `i % starts` of trajectory `i // starts`, with `starts` =
    T - length + 1.

    Raises:
        UserError: the trajectories have fewer than `length` frames.
    """

    def __init__(self, shards: Shards, length: int, *, reuse_buffers: bool = False):
        num_frames = len(shards.header.times)
        if not 1 <= length <= num_frames:
            raise UserError(
                f"windows of {length} frames do not fit into trajectories of {num_frames} frames. "
                f"training.unroll is at most {num_frames - 1} for these data. "
                "Lower training.unroll, or generate more frames with output.steps"
            )
        self._shards, self._length, self._num_starts = shards, length, num_frames - length + 1
        self._reuse_buffers = reuse_buffers
        self._buffers: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._shards) * self._num_starts

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Return the arrays of one window as a copy, without the axis B of `take`."""
        position = range(len(self))[index]
        return {name: array[0].copy() for name, array in self.take(np.array([position])).items()}

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the position of each window's trajectory in the split, and the window's first frame."""
        positions, starts = np.divmod(indices, self._num_starts)
        return positions, starts

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the windows at `indices` (B,).

        The arrays are `state` (B, L, C, *sites) and `coefficient_fields` (B, K, *sites) in the precision of
        the data set, and `parameters` (B, P) and `time` (B, L), s, in float64. With
        `reuse_buffers` the arrays are views of buffers, and the next call overwrites the buffers.
        """
        batch, shards = self._batch(len(indices)), self._shards
        positions, starts = self.locate(indices)
        batch["time"][...] = shards.header.times[starts[:, None] + np.arange(self._length)]
        shard_indices, rows = shards.locate(positions)
        windows = zip(shard_indices.tolist(), rows.tolist(), starts.tolist(), strict=True)
        for window, (shard, row, start) in enumerate(windows):
            arrays = shards.arrays(shard)
            frames = slice(start, start + self._length)
            shards.fill("fields", arrays, (row, frames), batch["state"][window], axis=1)
            shards.fill("coefficient_fields", arrays, (row,), batch["coefficient_fields"][window], axis=0)
            batch["parameters"][window] = arrays["parameters"][row]
        return batch

    def _batch(self, size: int) -> dict[str, np.ndarray]:
        """Return new arrays, or views of the first `size` windows of the buffers."""
        header, length = self._shards.header, self._length
        layouts = {
            "state": ((length, len(header.channels("fields")), *header.spec.shape), header.precision),
            "coefficient_fields": (
                (len(header.channels("coefficient_fields")), *header.spec.shape),
                header.precision,
            ),
            "parameters": ((len(header.spec.parameters),), "float64"),
            "time": ((length,), "float64"),
        }
        if not self._reuse_buffers:
            return {name: np.empty((size, *shape), precision) for name, (shape, precision) in layouts.items()}
        if not self._buffers or len(self._buffers["time"]) < size:
            self._buffers = {
                name: np.empty((size, *shape), precision) for name, (shape, precision) in layouts.items()
            }
        return {name: buffer[:size] for name, buffer in self._buffers.items()}


def _channels_of_fields(header: Header, kind: FieldKind) -> list[tuple[str, int | slice]]:
    """Return each field's path in the file with its channel, or with its slice of channels for a vector."""
    fields: list[tuple[str, int | slice]] = []
    channel = 0
    for field in header.fields(kind):
        num_components = len(header.spec.components(field))
        fields.append(
            (field_path(field), slice(channel, channel + num_components) if field.tensor_order else channel)
        )
        channel += num_components
    return fields
