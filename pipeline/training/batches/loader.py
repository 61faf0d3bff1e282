"""The windows of the training split on the device that trains, and how long training waits for them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch

from pipeline.data.dataset import Dataset
from surrogates.contract import Batch

#: What a rank keeps of a data set in memory; larger ones are read from memory maps, which cost no copy.
_ROOM_ON_PROCESSORS = 256 * 2**20
#: The share of a GPU's free memory that data may take; the rest is for weights and activations.
_SHARE_OF_GPU = 0.25


class Reader:
    """Gives windows of `length` consecutive frames as batches, like `like` in device and precision.

    A training split that fits is read once and stays on the device, where a batch is one gather. Both
    ways give the same bits.

    Attributes:
        length: frames of a window.
        places: the trajectory of each window, from 0 in the split, and the frame it starts at.
        waited: seconds that `take` took since it was last set to zero.

    Raises:
        UserError: a trajectory has fewer than `length` frames.
    """

    def __init__(self, dataset: Dataset, length: int, like: torch.Tensor):
        self._windows = dataset.windows("train", length)
        self.places = self._windows.places
        self.length = length
        self._frames = torch.arange(length, device=like.device)
        self._like = like
        self._kept = _whole_split(dataset, like)
        self.waited = 0.0

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def is_resident(self) -> bool:
        """Whether the split is on the device."""
        return self._kept is not None

    def take(self, indices: np.ndarray) -> Batch:
        """The windows `indices` (B,), which the next call may write over."""
        begun = time.perf_counter()
        batch = (
            _tensors(self._windows.take(indices), self._like)
            if self._kept is None
            else self._gathered(indices)
        )
        self.waited += time.perf_counter() - begun
        return batch

    def _gathered(self, indices: np.ndarray) -> Batch:
        assert self._kept is not None
        places = self._windows.places(indices)
        number, start = (torch.from_numpy(each).to(self._like.device) for each in places)
        frames = start[:, None] + self._frames
        return {
            "state": self._kept["state"][number[:, None], frames],
            "coefficient_fields": self._kept["coefficient_fields"][number],
            "parameters": self._kept["parameters"][number],
            "time": self._kept["time"][number[:, None], frames],
        }


def _whole_split(dataset: Dataset, like: torch.Tensor) -> Batch | None:
    """The trajectories of the training split on the device, or None where they take too much of it."""
    trajectories = dataset.windows("train", len(dataset.times))
    if not len(trajectories):
        return None
    first = _tensors(trajectories.take(np.array([0])), like)
    total = len(trajectories) * sum(
        tensor.nbytes for tensor in cast(Mapping[str, torch.Tensor], first).values()
    )
    if total > _room(like.device):
        return None
    kept = {
        name: tensor.new_empty(len(trajectories), *tensor.shape[1:])
        for name, tensor in cast(Mapping[str, torch.Tensor], first).items()
    }
    for number in range(len(trajectories)):
        for name, array in trajectories.take(np.array([number])).items():
            kept[name][number] = torch.from_numpy(array[0])
    return cast(Batch, kept)


def _room(device: torch.device) -> float:
    """Bytes that the data may take on a device."""
    if device.type == "cuda":
        return _SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]
    return _ROOM_ON_PROCESSORS


def _tensors(batch: Mapping[str, np.ndarray], like: torch.Tensor) -> Batch:
    """A batch of arrays on the device and in the precision of `like`."""
    return cast(
        Batch, {name: torch.from_numpy(array).to(like.device, like.dtype) for name, array in batch.items()}
    )
