"""Products of float32 matrices by the faster of two libraries, if its results are exact."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: The largest accepted relative error of a product of float32 matrices, about four times the usual round-off.
_MAX_PRODUCT_ERROR = 1e-6
#: Rows, inner size and columns of test products: a layer at every site, few sites, and square matrices.
_PRODUCT_SHAPES = ((4096, 32, 32), (64, 128, 128), (48, 64, 24), (512, 512, 512))


@contextmanager
def fast_matmul(device: torch.device) -> Iterator[str]:
    """Use PyTorch's matmul precision `medium` for float32 on processors, if it is exact on this processor.

    On some processors `medium` selects a faster library, on others arithmetic with fewer digits. `medium` is
    used if products have the error of float32, compared with float64, and never on a GPU. The products are
    compared once in a process. The setting applies to the whole process and ends with the block.

    Yields the name of the matmul precision in use.
    """
    default = torch.get_float32_matmul_precision()
    try:
        if device.type == "cpu" and default != "medium" and is_medium_exact():
            torch.set_float32_matmul_precision("medium")
        yield torch.get_float32_matmul_precision()
    finally:
        torch.set_float32_matmul_precision(default)


@functools.cache
def is_medium_exact() -> bool:
    """Return whether the matmul precision `medium` has the error of float32 on this processor."""
    default = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        return max(_product_error(*shape) for shape in _PRODUCT_SHAPES) <= _MAX_PRODUCT_ERROR
    finally:
        torch.set_float32_matmul_precision(default)


def _product_error(rows: int, inner_size: int, columns: int) -> float:
    """Return the largest relative error of a product and of its two gradients, which have other shapes."""
    generator = torch.Generator().manual_seed(0)
    left_matrix, right_matrix = (
        torch.randn(shape, generator=generator) for shape in ((rows, inner_size), (inner_size, columns))
    )
    ones = torch.ones(rows, columns)
    factors = ((left_matrix, right_matrix), (ones, right_matrix.T), (left_matrix.T, ones))
    errors = []
    for left_factor, right_factor in factors:
        exact_product = left_factor.double() @ right_factor.double()
        errors.append(float((left_factor @ right_factor - exact_product).norm() / exact_product.norm()))
    return max(errors)
