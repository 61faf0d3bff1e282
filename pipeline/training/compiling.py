"""torch.compile of a surrogate's forward, taken only where it computes what the surrogate computes."""

from __future__ import annotations

from typing import cast

import torch

from pipeline.settings import Training
from pipeline.training.distributed import Ranks
from pipeline.training.update import loss_of
from surrogates.contract import Batch, Surrogate


def compiled(surrogate: Surrogate, batch: Batch, options: Training, ranks: Ranks) -> torch.nn.Module:
    """The compiled surrogate, which shares its weights; the surrogate itself where that will not do.

    Loss and gradient of `batch` must agree to half the digits of the precision, on every rank. Rank 0 says
    so where they do not, and where compiling fails, as it does without a C++ compiler.
    """
    # What other models of this process were compiled to counts against this one's versions.
    torch.compiler.reset()
    faster = cast(torch.nn.Module, torch.compile(surrogate, dynamic=False))
    try:
        told = _difference(faster, surrogate, batch, options)
    # What the compiler raises, its own errors included, derives from it.
    except RuntimeError as error:
        told = f"compiling fails: {str(error).strip().splitlines()[0]}"
    surrogate.zero_grad()
    everyone = ranks.listed(float(bool(told)))
    if not any(everyone):
        return faster
    if ranks.is_first:
        told = told or f"rank {everyone.index(1.0)} cannot use it"
        print(f"training.compile=true is left out: {told}", flush=True)
    return surrogate


def _difference(one: torch.nn.Module, two: torch.nn.Module, batch: Batch, options: Training) -> str:
    """What tells the losses and gradients of two models apart; empty where rounding explains it."""
    kind = torch.bfloat16 if options.precision == "bfloat16" else batch["state"].dtype
    bound = torch.finfo(kind).eps ** 0.5
    found = [_loss_and_gradient(model, batch, options) for model in (one, two)]
    for name, ours, theirs in zip(("loss", "gradient"), *found, strict=True):
        error = float((ours - theirs).norm() / theirs.norm())
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
