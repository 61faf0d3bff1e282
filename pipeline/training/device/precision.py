"""The arithmetic of training: the type of the weights, and mixed precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.device.equivalence import excess_message, relative_errors, tolerance
from simsurrogate.errors import UserError
from surrogates.contract import Batch, Surrogate

_Tensors = Mapping[str, torch.Tensor]


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
