"""The arithmetic of training: the type of the weights, mixed precision, and the precision of products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.device.equivalence import excess_message, relative_errors, tolerance
from simsurrogate.errors import UserError
from surrogates.contract import Batch, Surrogate

_Tensors = Mapping[str, torch.Tensor]

#: The largest accepted relative error of a product of float32 matrices, about four times the usual round-off.
_MAX_PRODUCT_ERROR = 1e-6
#: Rows, inner size and columns of test products: a layer at every site, few sites, and square matrices.
_PRODUCT_SHAPES = ((4096, 32, 32), (64, 128, 128), (48, 64, 24), (512, 512, 512))


def check_device(precision: str, device: torch.device) -> None:
    """Check that the device has the arithmetic of `training.precision`.

    Raises:
        UserError: the precision is bfloat16, and the device has no bfloat16 arithmetic.
    """
    if precision != "bfloat16":
        return
    if device.type == "cuda":
        is_supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if not is_supported:
        raise UserError(
            f"training.precision=bfloat16, but {device.type} here has no bfloat16 arithmetic. The precision "
            "may be float32 or float64. Set training.precision=float32"
        )


def check_mixed(surrogate: Surrogate, batch: Batch, options: Training, ranks: Ranks) -> dict[str, float]:
    """Return the relative errors of loss and gradient in mixed precision, the largest of all ranks.

    The reference is float32. The errors are computed on half of the batch, which in float32 takes as much
    memory as the whole batch in bfloat16.

    Raises:
        UserError: an error exceeds half the digits of bfloat16, on any rank.
    """
    reference = options.model_copy(update={"precision": "float32"})
    count = (len(batch["state"]) + 1) // 2
    half_batch = cast(Batch, {name: values[:count] for name, values in cast(_Tensors, batch).items()})
    errors = relative_errors((surrogate, options), (surrogate, reference), half_batch)
    surrogate.zero_grad()
    # `max` with 0.0 first ignores NaN, the error of a batch without a comparable loss.
    errors = {name: max(0.0, *ranks.gather(error)) for name, error in errors.items()}
    reason = excess_message(errors, tolerance(options))
    if reason:
        raise UserError(
            f"training.precision=bfloat16 is too coarse for {type(surrogate).__name__} on these data: on the "
            f"first batch {reason}. The precision may be float32 or float64. Set training.precision=float32"
        )
    return errors


def weight_dtype(precision: str) -> str:
    """Return the type of the weights, which is float32 in mixed precision."""
    return "float32" if precision == "bfloat16" else precision


@contextmanager
def fast_matmul(device: torch.device) -> Iterator[str]:
    """Use PyTorch's matmul precision `medium` for float32 on processors, if it is exact on this processor.

    On some processors `medium` selects a faster library, on others arithmetic with fewer digits. `medium` is
    used if products have the error of float32, compared with float64, and never on a GPU. The setting applies
    to the whole process and ends with the block.

    Yields the name of the matmul precision in use.
    """
    default = torch.get_float32_matmul_precision()
    try:
        if device.type == "cpu":
            torch.set_float32_matmul_precision("medium")
            if max(_product_error(*shape) for shape in _PRODUCT_SHAPES) > _MAX_PRODUCT_ERROR:
                torch.set_float32_matmul_precision(default)
        yield torch.get_float32_matmul_precision()
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
