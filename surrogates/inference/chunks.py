"""Batches in chunks that stay in the cache of a core."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

#: The largest size (bytes) of the hidden field of a chunk, about a second-level cache.
CHUNK_BYTES = 2**20


def in_chunks(
    compute: Callable[..., torch.Tensor], tensors: Sequence[torch.Tensor], num_hidden: int
) -> torch.Tensor:
    """Return `compute(*tensors)`, which computes each case of a batch alone, a few cases at a time.

    A large batch has hidden fields beyond the cache, and its memory is returned to the system and cleared
    again in every step. The size of a chunk does not depend on the number of threads. A GPU computes whole
    batches.

    Args:
        compute: function of tensors with the batch as first axis.
        tensors: its arguments.
        num_hidden: the number of values of a hidden field of a case; 0 for a whole batch at once.
    """
    batch = tensors[0]
    num_cases = max(1, CHUNK_BYTES // (num_hidden * batch.element_size())) if num_hidden else len(batch)
    if batch.device.type != "cpu" or len(batch) <= num_cases:
        return compute(*tensors)
    chunks = zip(*(torch.split(tensor, num_cases) for tensor in tensors), strict=True)
    return torch.cat([compute(*chunk) for chunk in chunks])
