"""The error of a batch that is too large for the memory of the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.batches.order import BatchOrder
from simsurrogate.errors import UserError
from simsurrogate.memory import allocation_failure


@contextmanager
def explain_exhaustion(order: BatchOrder, options: Training, ranks: Ranks) -> Iterator[None]:
    """Replace the device's out-of-memory error by a message with the batch size and a remedy.

    Raises:
        UserError: the device is out of memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if allocation_failure(error) is None:
            raise
        raise UserError(
            f"{ranks.device} is out of memory with {order.micro_batch_size} windows of {options.unroll + 1} "
            f"frames at once (training.batch_size={options.batch_size} on {ranks.size} ranks, in "
            f"{order.num_micro_batches} micro-batches): {error} More micro-batches need less memory and give "
            "the same result. Raise training.gradient_accumulation_steps, or lower training.batch_size or "
            "training.unroll"
        ) from error
