"""The comparison of a fast computation of a loss and its gradient with a reference computation."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from pipeline.config.settings import Training
from pipeline.training.step import loss_of
from surrogates.contract import Batch

#: A model, and the options that determine its arithmetic.
Computation = tuple[torch.nn.Module, Training]


def relative_errors(candidate: Computation, reference: Computation, batch: Batch) -> dict[str, float]:
    """Return the relative errors of a candidate's `loss` on a batch, and of its `gradient` as one vector.

        |candidate - reference| / |reference|

    An error is NaN if its reference is 0 or not finite. Both models have the same weights, whose gradients
    are overwritten.
    """
    candidate_values, reference_values = (
        _loss_and_gradient(model, batch, options) for model, options in (candidate, reference)
    )
    errors = {}
    for name, candidate_value, reference_value in zip(
        ("loss", "gradient"), candidate_values, reference_values, strict=True
    ):
        error = float((candidate_value - reference_value).norm())
        reference_norm = float(reference_value.norm())
        is_comparable = 0 < reference_norm < math.inf
        errors[name] = (
            (error / reference_norm if math.isfinite(error) else math.inf) if is_comparable else math.nan
        )
    return errors


def tolerance(options: Training) -> float:
    """Return the relative error that round-off explains: half the digits of the precision."""
    dtypes = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
    return float(torch.finfo(dtypes[options.precision]).eps ** 0.5)


def excess_message(errors: Mapping[str, float], max_error: float) -> str:
    """Return a message on the first error above the bound, or an empty string."""
    for name, error in errors.items():
        # `not error <= bound` is true for NaN, unlike `error > bound`.
        if not error <= max_error:
            return f"its {name} is off by {error:.1e}, more than {max_error:.1e}"
    return ""


def _loss_and_gradient(
    model: torch.nn.Module, batch: Batch, options: Training
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return loss and gradient (P,), with the same random numbers inside the model at every call."""
    model.zero_grad()
    torch.manual_seed(0)
    loss = loss_of(model, batch, options)
    torch.autograd.backward(loss)
    gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return loss.detach(), torch.cat(gradients)
