"""The arithmetic of training: the type of the weights, and mixed precision."""

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
