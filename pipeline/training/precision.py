"""The arithmetic of training: the type of the weights, mixed precision, and fast float32 products."""

from __future__ import annotations

import torch


def check_mixed(precision: str, device: torch.device) -> None:
    """Raises ValueError where `precision` is bfloat16 and the device cannot compute in it."""
    if precision != "bfloat16":
        return
    if device.type == "cuda":
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_it = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if not has_it:
        raise ValueError(
            f"training.precision=bfloat16, but {device.type} here has no bfloat16 arithmetic; "
            "set training.precision=float32"
        )


def weights(precision: str) -> str:
    """The type of the weights, which mixed precision keeps in float32."""
    return "float32" if precision == "bfloat16" else precision


def allow_fast_products(device: torch.device) -> None:
    """Lets float32 products on a processor take torch's fastest route, if that one is accurate here.

    What the route is varies: on some processors it is another library with the same accuracy and up to
    twice the speed, on others bfloat16 with 1e-3, which is turned off again.
    """
    if device.type != "cpu":
        return
    generator = torch.Generator().manual_seed(0)
    left, right = torch.rand(2, 256, 256, generator=generator)
    exact = left.double() @ right.double()
    torch.set_float32_matmul_precision("medium")
    if (((left @ right).double() - exact).norm() / exact.norm()).item() > 1e-6:
        torch.set_float32_matmul_precision("highest")
