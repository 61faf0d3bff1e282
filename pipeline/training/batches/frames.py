"""The frames of the training split for `Surrogate.initialise`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from pipeline.data.dataset import Dataset
from pipeline.data.format.layout import bytes_of_fields
from pipeline.parallel.ranks import Ranks

#: The size (bytes) of the states of a chunk. A larger frame is one chunk.
_CHUNK_BYTES = 2**24


class SharedFrames:
    """The frames of the training split, shared among the ranks, see `surrogates.contract.TrainingFrames`.

    Rank r of R reads the frames r, r + R, r + 2 R and so on, in chunks of at most 16 MiB.

    Attributes:
        num_frames: the number of frames of all ranks together.
    """

    def __init__(self, dataset: Dataset, ranks: Ranks, like: torch.Tensor):
        self._windows = dataset.windows("train", 1, reuse_buffers=True)
        self._ranks, self._like = ranks, like
        frame_bytes = bytes_of_fields(dataset.spec, 1, "float64")
        self._chunk_size = max(_CHUNK_BYTES // frame_bytes, 1)
        self.num_frames = len(self._windows)

    def __iter__(self) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        own_frames = np.arange(self._ranks.rank, self.num_frames, self._ranks.size)
        for start in range(0, len(own_frames), self._chunk_size):
            indices = own_frames[start : start + self._chunk_size]
            states = torch.from_numpy(self._windows.take(indices)["state"][:, 0])
            yield indices, states.to(self._like.device, self._like.dtype)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over the ranks, on all ranks."""
        return self._ranks.sum(values)

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """Return the tensors of all ranks in their order, (ranks, ...), on all ranks."""
        gathered = values.new_zeros(self._ranks.size, *values.shape)
        gathered[self._ranks.rank] = values
        return self._ranks.sum(gathered)
