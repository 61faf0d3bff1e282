"""The arithmetic of a prediction: fast products, and as many threads, if its size is worth them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch

from surrogates.inference.products import fast_matmul

#: The smallest number of values of the initial states for each thread. On cores that other processes use, two
#: threads took up to three times as long as one. The gain of two threads on idle cores is not measured.
_MIN_VALUES_PER_THREAD = 4096
#: The smallest number of rows for the fast library. A call of it takes 16 microseconds more, about as long as
#: the product of 64 rows with 128 x 128 weights, or of 1024 rows with 32 x 32 weights.
_MIN_ROWS_FOR_FAST_PRODUCTS = 256


@contextmanager
def fast_arithmetic(weights: Iterator[torch.Tensor], shape: Sequence[int], num_rows: int) -> Iterator[None]:
    """Compute a prediction by fast products if it is large, and on processors by one thread if it is small.

    The settings apply to the whole process and end with the block.

    Args:
        weights: the weights of the surrogate, on the device of the prediction.
        shape: the shape of the initial states.
        num_rows: the number of rows of most products.
    """
    num_threads = torch.get_num_threads()
    suitable = min(num_threads, max(1, math.prod(shape) // _MIN_VALUES_PER_THREAD))
    has_many_rows = num_rows >= _MIN_ROWS_FOR_FAST_PRODUCTS
    if suitable == num_threads and not has_many_rows:
        yield
        return
    device = next(weights).device
    is_limited = device.type == "cpu" and suitable < num_threads
    with fast_matmul(device) if has_many_rows else nullcontext():
        try:
            if is_limited:
                torch.set_num_threads(suitable)
            yield
        finally:
            if is_limited:
                torch.set_num_threads(num_threads)
