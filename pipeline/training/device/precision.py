"""The arithmetic of training: the type of the weights, mixed precision, and how products are computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.device.equivalence import bound_of, excess, relative_errors
from simsurrogate.errors import UserError
from surrogates.contract import Batch, Surrogate

_Tensors = Mapping[str, torch.Tensor]

#: The largest relative error of a product of float32 matrices, about four times that of usual rounding.
_MOST_ERROR = 1e-6
#: Rows, inner size and columns: of a layer at every site, of few sites, and of square matrices.
_SHAPES = ((4096, 32, 32), (64, 128, 128), (48, 64, 24), (512, 512, 512))


def check_device(precision: str, device: torch.device) -> None:
    """Raises UserError where `precision` is bfloat16 and the device cannot compute in it."""
    if precision != "bfloat16":
        return
    if device.type == "cuda":
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_it = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if not has_it:
        raise UserError(
            f"training.precision=bfloat16, but {device.type} here has no bfloat16 arithmetic; "
            "set training.precision=float32"
        )


def check_mixed(surrogate: Surrogate, batch: Batch, options: Training, ranks: Ranks) -> dict[str, float]:
    """The errors that mixed precision makes of the loss and of its gradient, against float32; the largest of
    all ranks. They are those of half a batch, which in float32 takes the memory of a whole one in bfloat16.

    Raises:
        UserError: one is above half the digits of bfloat16, on any rank.
    """
    usual = options.model_copy(update={"precision": "float32"})
    count = (len(batch["state"]) + 1) // 2
    half = cast(Batch, {name: values[:count] for name, values in cast(_Tensors, batch).items()})
    errors = relative_errors((surrogate, options), (surrogate, usual), half)
    surrogate.zero_grad()
    # The 0 stands first: NaN, of a batch that has no loss to compare with, is then never the largest.
    errors = {name: max(0.0, *ranks.gather(error)) for name, error in errors.items()}
    told = excess(errors, bound_of(options))
    if told:
        raise UserError(
            f"training.precision=bfloat16 is too coarse for {type(surrogate).__name__} on these data: on the "
            f"first batch {told}; set training.precision=float32"
        )
    return errors


def weights(precision: str) -> str:
    """The type of the weights, which mixed precision keeps in float32."""
    return "float32" if precision == "bfloat16" else precision


@contextmanager
def fast_products(device: torch.device) -> Iterator[str]:
    """Lets products of float32 matrices on processors take PyTorch's `medium` way, if it is exact here.

    On some processors that way is a faster library, on others arithmetic of fewer digits. It is taken where
    the error of products, against float64, is that of float32, and never on a GPU. Gives the name of the way
    taken; the setting is the process's, and ends with the block.
    """
    usual = torch.get_float32_matmul_precision()
    try:
        if device.type == "cpu":
            torch.set_float32_matmul_precision("medium")
            if max(_product_error(*shape) for shape in _SHAPES) > _MOST_ERROR:
                torch.set_float32_matmul_precision(usual)
        yield torch.get_float32_matmul_precision()
    finally:
        torch.set_float32_matmul_precision(usual)


def _product_error(rows: int, inner: int, columns: int) -> float:
    """The relative error of a product and of its two gradients, which have other shapes."""
    generator = torch.Generator().manual_seed(0)
    one, two = (
        torch.randn(shape, generator=generator, requires_grad=True)
        for shape in ((rows, inner), (inner, columns))
    )
    product = one @ two
    gradients = torch.autograd.grad(product, (one, two), torch.ones_like(product))
    exact_one, exact_two = one.detach().double(), two.detach().double()
    ones = torch.ones(rows, columns, dtype=torch.float64)
    exact = (exact_one @ exact_two, ones @ exact_two.T, exact_one.T @ ones)
    return max(
        float((found - right).norm() / right.norm())
        for found, right in zip((product.detach(), *gradients), exact, strict=True)
    )
