"""A shard with all that its checks need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.data.format import hdf5
from pipeline.data.format.layout import DatasetLayout, dataset_layouts, field_path
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest, ManifestShard, Receipt, read_document, receipt_path
from pipeline.data.plan import Shard
from pipeline.data.recorded_configuration import has_gaps

#: The number of values that a check reads at once.
VALUES_PER_CHUNK = 2**20


@dataclass(frozen=True)
class ShardUnderTest:
    """One shard of the data set in `folder`, with its entry in the manifest.

    `entry` is None if the manifest does not list the shard, because each of its trajectories failed.
    `structures` are those of the data set, and `linked_checksums` the checksums of the linked files by path.
    """

    folder: Path
    manifest: Manifest
    shard: Shard
    entry: ManifestShard | None
    structures: Structures
    linked_checksums: dict[str, str]

    @property
    def path(self) -> Path:
        """The shard's file."""
        return self.folder / self.shard.file

    @cached_property
    def receipt(self) -> Receipt:
        """The shard's receipt."""
        return read_document(receipt_path(self.folder, self.shard), Receipt)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The shard's datasets by path, as memory maps."""
        locations = self.structures.locations(self.path, self.receipt.trajectories)
        return hdf5.memory_maps(self.path, locations)

    @cached_property
    def frame_sizes(self) -> dict[str, np.ndarray]:
        """The largest absolute value of each field in each frame, (rows, T) by path of the field."""
        return {
            path: _frame_sizes(self.arrays[path])
            for path in map(field_path, self.structures.header.fields("fields"))
        }

    @property
    def paths_with_gaps(self) -> list[str]:
        """The paths of the fields that may have missing values, by the description of adopted data."""
        fields = self.structures.header.fields("fields")
        return [field_path(field) for field in fields if has_gaps(self.manifest.configuration)]

    @cached_property
    def layouts(self) -> dict[str, DatasetLayout]:
        """The expected layouts of the shard's datasets, by path."""
        return dataset_layouts(self.structures.header, self.receipt.trajectories)


def _frame_sizes(array: np.ndarray) -> np.ndarray:
    """Return the largest absolute value of each frame (rows, T) of a field (rows, T, ...); 0 in a gap."""
    frames = array.reshape(array.shape[0] * array.shape[1], -1)
    frames_per_chunk = max(VALUES_PER_CHUNK // frames.shape[1], 1)
    chunks = [frames[start : start + frames_per_chunk] for start in range(0, len(frames), frames_per_chunk)]
    sizes = [
        np.fmax(np.maximum(np.fmax.reduce(chunk, axis=1), -np.fmin.reduce(chunk, axis=1)), 0)
        for chunk in chunks
    ]
    return np.concatenate(sizes, dtype=np.float64).reshape(array.shape[:2])
