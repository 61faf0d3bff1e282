"""Weights between the losses of a surrogate, by which their gradients become equally large."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.step import losses_of
from pipeline.training.train_state import State
from surrogates.contract import Batch

#: The share of the weights before in the new ones.
_KEPT = 0.9
#: The smallest gradient, as a share of the mean, that tells a weight.
_LEAST = 1e-6


def balance(state: State, parts: Iterable[Batch], options: Training, ranks: Ranks) -> None:
    """Moves the weights λ of the n losses of `state` towards those at which each pulls as hard as the others:

        λ_i ← 0.9 λ_i + 0.1 (1/n) Σ_j ‖∇L_j‖ / ‖∇L_i‖

    with gradients on the global batch, of which `parts` are this rank's share. A loss with hardly any
    gradient keeps its weight; all do where a gradient is not finite.

    Source: Wang, Sankaran, Wang & Perdikaris 2023, "An Expert's Guide to Training Physics-informed Neural
    Networks" (arXiv 2308.08468), algorithm 1. The factor 1/n is ours: losses in balance have weight 1.
    """
    sizes = dict(zip(state.surrogate.losses, _gradient_norms(state, parts, options, ranks), strict=True))
    mean = sum(sizes.values()) / len(sizes)
    if not math.isfinite(mean):
        return
    for name, size in sizes.items():
        if size > _LEAST * mean:
            state.loss_weights[name] = _KEPT * state.loss_weights[name] + (1 - _KEPT) * mean / size


def _gradient_norms(state: State, parts: Iterable[Batch], options: Training, ranks: Ranks) -> list[float]:
    """‖∇L‖ of each loss on the global batch, equal on all ranks."""
    weights = list(state.surrogate.parameters())
    # Not through the model that ranks share: its hooks wait for the gradient of one sum.
    of_parts = [
        torch.stack([_gradient(losses[name], weights) for name in state.surrogate.losses])
        for losses in (losses_of(state.surrogate, batch, options) for batch in parts)
    ]
    total = ranks.sum(torch.stack(of_parts).mean(0) / ranks.size)
    norms: list[float] = total.norm(dim=1).tolist()
    return norms


def _gradient(loss: torch.Tensor, weights: list[torch.nn.Parameter]) -> torch.Tensor:
    """(P,), 0 for a weight that has no part in the loss."""
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in found])
