"""The buffers that a surrogate computes from the training frames before the first step."""

from __future__ import annotations

from pathlib import Path

import torch

from pipeline.data.dataset import Dataset
from pipeline.parallel.ranks import Ranks
from pipeline.training import checkpoint
from pipeline.training.batches.frames import SharedFrames
from surrogates.contract import Surrogate


@torch.no_grad()
def prepare(surrogate: Surrogate, dataset: Dataset, folder: Path, ranks: Ranks) -> str:
    """Prepare a surrogate, see `Surrogate.initialise`, or take its buffers from the newest intact checkpoint.

    All ranks then have the same bits, those of rank 0. Return the description of the preparation, or an empty
    text.

    Raises:
        UserError: the surrogate cannot be prepared, or every checkpoint is damaged.
    """
    if type(surrogate).initialise is Surrogate.initialise:
        return ""
    folder = folder / "checkpoints"
    newest_path = ranks.broadcast(checkpoint.newest_intact(folder) if ranks.is_first else None)
    description = ""
    if newest_path is None:
        frames = SharedFrames(dataset, ranks, next(surrogate.parameters()))
        description = surrogate.initialise(frames)
        if ranks.is_first:
            print(f"{folder.parent}: {description}", flush=True)
    stored = {} if newest_path is None else checkpoint.load(newest_path).tensors
    for name, buffer in surrogate.named_buffers():
        if name not in surrogate.state_dict():
            continue
        tensor = stored.get(f"weights.{name}", buffer).to(buffer)
        # A checkpoint of other shapes is refused when the training state is restored.
        if tensor.shape == buffer.shape:
            buffer.copy_(ranks.sum(tensor if ranks.is_first else torch.zeros_like(tensor)))
    return description
