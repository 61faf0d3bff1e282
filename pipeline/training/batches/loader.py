"""The loader of training windows: on the training device if they fit, else from memory maps of the files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch

from pipeline.data.dataset import Dataset
from pipeline.data.mixture import Mixture
from surrogates.contract import Batch

#: The largest training split (bytes) that a rank on processors keeps in memory.
_MAX_RESIDENT_BYTES = 256 * 2**20
#: The fraction of a GPU's free memory that data may take; the rest is for weights and activations.
_MAX_GPU_FRACTION = 0.25


#: The method `Surrogate.encode`.
Encode = Callable[[torch.Tensor], torch.Tensor | None]


class DeviceLoader:
    """The windows of `length` consecutive frames of the training split, as batches on a device.

    A training split that fits is read once and stays on the device, where a batch is one gather. A larger
    split is read from memory maps. Both methods give the same bits. Device and precision are those of `like`.

    A surrogate that encodes states (`Surrogate.encode`) gets the encoded frames. They are computed once and
    stay on the device.

    Attributes:
        length: frames of a window.
        locate: function from window indices to the position of each window's trajectory in the split
            and the window's first frame.
        data_seconds: seconds that `take` took since the attribute was last set to zero.

    Raises:
        UserError: a trajectory has fewer than `length` frames.
    """

    def __init__(self, dataset: Dataset, length: int, like: torch.Tensor, encode: Encode = lambda _: None):
        self._windows = dataset.windows("train", length, reuse_buffers=True)
        self.locate = self._windows.locate
        self.length = length
        self._frames = torch.arange(length, device=like.device)
        self._like, self._encode = like, encode
        self._resident_batch = _resident_split(dataset, like, encode)
        self.data_seconds = 0.0

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, indices: np.ndarray) -> Batch:
        """Return the windows `indices` (B,); the next call may overwrite them."""
        start_seconds = time.perf_counter()
        batch = (
            cast(Batch, _encoded(_tensors(self._windows.take(indices), self._like), self._encode))
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


class MixtureLoader:
    """The windows of all sources of a mixture, numbered one source after the other, see `DeviceLoader`."""

    def __init__(self, mixture: Mixture, length: int, like: torch.Tensor, encode: Encode = lambda _: None):
        self._joined = mixture.windows("train", length)
        self.locate, self.length, self.data_seconds = self._joined.locate, length, 0.0
        self.loaders = [DeviceLoader(source, length, like, encode) for source in mixture.sources]

    def __len__(self) -> int:
        return len(self._joined)

    def source_of(self, indices: np.ndarray) -> np.ndarray:
        """Return the source of each window (B,)."""
        return self._joined.source_of(indices)

    def take(self, indices: np.ndarray) -> Batch:
        """Return the windows `indices` (B,), in their order."""
        start_seconds = time.perf_counter()
        batch: dict[str, torch.Tensor] = {}
        for source, rows in self._joined.rows_by_source(indices):
            own_indices = self._joined.own_indices(source, indices[rows])
            for name, values in self.loaders[source].take(own_indices).items():
                assert isinstance(values, torch.Tensor)
                if name not in batch:
                    batch[name] = values.new_empty(len(indices), *values.shape[1:])
                batch[name][torch.from_numpy(rows).to(values.device)] = values
        self.data_seconds += time.perf_counter() - start_seconds
        return cast(Batch, batch)


#: The loader of one data set, or of a mixture.
Loader = DeviceLoader | MixtureLoader


def loader_of(dataset: Dataset, length: int, like: torch.Tensor, encode: Encode) -> Loader:
    """Return the loader of the training windows of a data set."""
    kind = MixtureLoader if isinstance(dataset, Mixture) else DeviceLoader
    return kind(dataset, length, like, encode)  # type: ignore[arg-type]


def _resident_split(dataset: Dataset, like: torch.Tensor, encode: Encode) -> Batch | None:
    """Return the trajectories of the training split on the device, or None if they take too much memory."""
    trajectories = dataset.windows("train", len(dataset.times), reuse_buffers=True)
    if not len(trajectories):
        return None

    def read(index: int) -> dict[str, torch.Tensor]:
        return _encoded(_tensors(trajectories.take(np.array([index])), like), encode)

    first_trajectory = read(0)
    num_bytes = len(trajectories) * sum(tensor.nbytes for tensor in first_trajectory.values())
    if num_bytes > _available_bytes(like.device):
        return None
    split = {
        name: tensor.new_empty(len(trajectories), *tensor.shape[1:])
        for name, tensor in first_trajectory.items()
    }
    for index in range(len(trajectories)):
        for name, tensor in read(index).items():
            split[name][index] = tensor[0]
    return cast(Batch, split)


@torch.no_grad()
def _encoded(batch: Batch, encode: Encode) -> dict[str, torch.Tensor]:
    """Return the batch with the codes of its states (B, T, ...), if there are any."""
    state = batch["state"]
    codes = encode(state.flatten(0, 1))
    if codes is not None:
        batch = {**batch, "state": codes.reshape(*state.shape[:2], *codes.shape[1:])}
    return cast(dict[str, torch.Tensor], batch)


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
