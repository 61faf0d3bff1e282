"""What to do about a device whose memory is too small for a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.batches.order import Batches
from simsurrogate.errors import UserError


@contextmanager
def exhaustion_explained(batches: Batches, options: Training, ranks: Ranks) -> Iterator[None]:
    """Turns the device's lack of memory into a message that a user can act on.

    Raises:
        UserError: the device is out of memory; with the batch size that was tried.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{ranks.device} is out of memory with {batches.at_once} windows of {options.unroll + 1} frames "
            f"at once (training.batch_size={options.batch_size} on {ranks.size} ranks, in "
            f"{batches.num_parts} parts): raise training.gradient_accumulation_steps, which leaves the "
            f"result as it is, or lower training.batch_size or training.unroll. {error}"
        ) from error
