"""Whether a faster way to compute a loss and its gradient is as good as the usual one."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from pipeline.config.settings import Training
from pipeline.training.step import loss_of
from surrogates.contract import Batch

#: A model, and the options of which the arithmetic is taken.
Way = tuple[torch.nn.Module, Training]


def relative_errors(ours: Way, usual: Way, batch: Batch) -> dict[str, float]:
    """|found - right| / |right| of the `loss` of a batch, and of its `gradient` as one vector; NaN where
    there is nothing right: a loss that is not finite, a gradient of 0.

    Both models have the same weights, whose gradients they leave behind.
    """
    found, right = (_loss_and_gradient(model, batch, options) for model, options in (ours, usual))
    errors = {}
    for name, mine, theirs in zip(("loss", "gradient"), found, right, strict=True):
        error, size = float((mine - theirs).norm()), float(theirs.norm())
        comparable = 0 < size < math.inf
        errors[name] = (error / size if math.isfinite(error) else math.inf) if comparable else math.nan
    return errors


def bound_of(options: Training) -> float:
    """The error that rounding explains: half the digits of the precision."""
    kinds = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
    return float(torch.finfo(kinds[options.precision]).eps ** 0.5)


def excess(errors: Mapping[str, float], bound: float) -> str:
    """What is off by more than the bound, and by how much; empty where nothing is."""
    for name, error in errors.items():
        # Not `>`: it is false of NaN.
        if not error <= bound:
            return f"its {name} is off by {error:.1e}, more than {bound:.1e}"
    return ""


def _loss_and_gradient(
    model: torch.nn.Module, batch: Batch, options: Training
) -> tuple[torch.Tensor, torch.Tensor]:
    """With the same random numbers within the model each time."""
    model.zero_grad()
    torch.manual_seed(0)
    loss = loss_of(model, batch, options)
    torch.autograd.backward(loss)
    gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return loss.detach(), torch.cat(gradients)
