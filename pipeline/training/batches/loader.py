"""The loader of training windows: on the training device if they fit, else from memory maps of the files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch

from pipeline.data.dataset import Dataset
from surrogates.contract import Batch

#: The largest training split (bytes) that a rank on processors keeps in memory.
_MAX_RESIDENT_BYTES = 256 * 2**20
#: The fraction of a GPU's free memory that data may take; the rest is for weights and activations.
_MAX_GPU_FRACTION = 0.25


class DeviceLoader:
    """The windows of `length` consecutive frames of the training split, as batches on a device.

    A training split that fits is read once and stays on the device, where a batch is one gather. A larger
    split is read from memory maps. Both methods give the same bits. Device and precision are those of `like`.

    Attributes:
        length: frames of a window.
        locate: function from window indices to the position of each window's trajectory in the split
            and the window's first frame.
        data_seconds: seconds that `take` took since the attribute was last set to zero.

    Raises:
        UserError: a trajectory has fewer than `length` frames.
    """

    def __init__(self, dataset: Dataset, length: int, like: torch.Tensor):
        self._windows = dataset.windows("train", length, reuse_buffers=True)
        self.locate = self._windows.locate
        self.length = length
        self._frames = torch.arange(length, device=like.device)
        self._like = like
        self._resident_batch = _resident_split(dataset, like)
        self.data_seconds = 0.0

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, indices: np.ndarray) -> Batch:
        """Return the windows `indices` (B,); the next call may overwrite them."""
        start_seconds = time.perf_counter()
        batch = (
            _tensors(self._windows.take(indices), self._like)
            if self._resident_batch is None
            else self._gather(self._resident_batch, indices)
        )
        self.data_seconds += time.perf_counter() - start_seconds
        return batch

    def _gather(self, split: Batch, indices: np.ndarray) -> Batch:
        """Return windows of the split on the device."""
        trajectory, start = (
            torch.from_numpy(array).to(self._like.device) for array in self._windows.locate(indices)
        )
        frames = start[:, None] + self._frames
        return {
            "state": split["state"][trajectory[:, None], frames],
            "coefficient_fields": split["coefficient_fields"][trajectory],
            "parameters": split["parameters"][trajectory],
            "time": split["time"][trajectory[:, None], frames],
        }


def _resident_split(dataset: Dataset, like: torch.Tensor) -> Batch | None:
    """Return the trajectories of the training split on the device, or None if they take too much memory."""
    trajectories = dataset.windows("train", len(dataset.times), reuse_buffers=True)
    if not len(trajectories):
        return None
    first_trajectory = _tensors(trajectories.take(np.array([0])), like)
    num_bytes = len(trajectories) * sum(
        tensor.nbytes for tensor in cast(Mapping[str, torch.Tensor], first_trajectory).values()
    )
    if num_bytes > _available_bytes(like.device):
        return None
    split = {
        name: tensor.new_empty(len(trajectories), *tensor.shape[1:])
        for name, tensor in cast(Mapping[str, torch.Tensor], first_trajectory).items()
    }
    for index in range(len(trajectories)):
        for name, array in trajectories.take(np.array([index])).items():
            split[name][index] = torch.from_numpy(array[0])
    return cast(Batch, split)


def _available_bytes(device: torch.device) -> float:
    """Return the memory (bytes) that the data may take on a device."""
    if device.type == "cuda":
        return _MAX_GPU_FRACTION * torch.cuda.mem_get_info(device)[0]
    return _MAX_RESIDENT_BYTES


def _tensors(batch: Mapping[str, np.ndarray], like: torch.Tensor) -> Batch:
    """Return a batch of arrays on the device and in the precision of `like`."""
    return cast(
        Batch, {name: torch.from_numpy(array).to(like.device, like.dtype) for name, array in batch.items()}
    )
