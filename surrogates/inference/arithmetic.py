"""The arithmetic of a prediction: fast products, and as many threads as its size is worth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from surrogates.inference.products import fast_matmul

#: The smallest number of values of the initial states for each thread. On cores that other processes use, two
#: threads took up to three times as long as one. The gain of two threads on idle cores is not measured.
_MIN_VALUES_PER_THREAD = 4096


@contextmanager
def fast_arithmetic(device: torch.device, shape: Sequence[int]) -> Iterator[None]:
    """Compute a prediction by fast products, and on processors by one thread if it is small.

    The settings apply to the whole process and end with the block.

    Args:
        device: the device of the prediction.
        shape: the shape of the initial states.
    """
    num_threads = torch.get_num_threads()
    suitable = min(num_threads, max(1, math.prod(shape) // _MIN_VALUES_PER_THREAD))
    is_limited = device.type == "cpu" and suitable < num_threads
    with fast_matmul(device):
        try:
            if is_limited:
                torch.set_num_threads(suitable)
            yield
        finally:
            if is_limited:
                torch.set_num_threads(num_threads)
