"""Weights of a surrogate's losses that make the gradients of the losses equally large."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.step import losses_of
from pipeline.training.train_state import TrainState
from surrogates.contract import Batch

#: The fraction of the previous weights in the new weights.
_INERTIA = 0.9
#: The smallest gradient norm, relative to the mean, that changes a weight.
_MIN_RELATIVE_NORM = 1e-6


def balance(state: TrainState, micro_batches: Iterable[Batch], options: Training, ranks: Ranks) -> None:
    """Move the weights λ of the n losses of `state` towards equal gradient norms:

        λ_i ← 0.9 λ_i + 0.1 (1/n) Σ_j ‖∇L_j‖ / ‖∇L_i‖

    The gradients are those on the global batch; `micro_batches` are this rank's share of the batch. A loss
    with a negligible gradient keeps its weight. All losses keep their weights if a gradient is not finite.

    Source: Wang, Sankaran, Wang & Perdikaris 2023, "An Expert's Guide to Training Physics-informed Neural
    Networks" (arXiv 2308.08468), algorithm 1. The factor 1/n is an addition: balanced losses have weight 1.
    """
    norms = _gradient_norms(state, micro_batches, options, ranks)
    mean = sum(norms) / len(norms)
    if not math.isfinite(mean):
        return
    for name, norm in zip(state.surrogate.losses, norms, strict=True):
        if norm > _MIN_RELATIVE_NORM * mean:
            state.loss_weights[name] = _INERTIA * state.loss_weights[name] + (1 - _INERTIA) * mean / norm


def _gradient_norms(
    state: TrainState, micro_batches: Iterable[Batch], options: Training, ranks: Ranks
) -> list[float]:
    """Return the gradient norm of each loss on the global batch, equal on all ranks."""
    weights = [weight for weight in state.surrogate.parameters() if weight.requires_grad]
    # The losses bypass DistributedDataParallel, whose hooks expect the gradient of a single sum.
    gradients = [
        torch.stack([_gradient(losses[name], weights) for name in state.surrogate.losses])
        for losses in (losses_of(state.surrogate, batch, options) for batch in micro_batches)
    ]
    mean_gradients = ranks.sum(torch.stack(gradients).mean(0) / ranks.size)
    norms: list[float] = mean_gradients.norm(dim=1).tolist()
    return norms


def _gradient(loss: torch.Tensor, weights: list[torch.nn.Parameter]) -> torch.Tensor:
    """Return the gradient (P,) of a loss, 0 for a weight that does not affect the loss."""
    weight_gradients = torch.autograd.grad(
        loss, weights, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([weight_gradient.flatten() for weight_gradient in weight_gradients])
