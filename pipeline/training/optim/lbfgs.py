"""Steps of L-BFGS behind those of AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.step import Model, count_step, loss_of
from pipeline.training.train_state import State
from surrogates.contract import Batch, LeastSquares

#: Pairs of changes of weights and gradient that stand for the Hessian.
_HISTORY = 50


def lbfgs(
    model: Model, parts: Iterable[Batch], state: State, options: Training, ranks: Ranks
) -> tuple[float, float]:
    """At most `training.finish.iterations` iterations on one batch; the loss before them, and the norm of
    its gradient.

    A step starts without history, so that nothing but the weights goes from one to the next. Losses and
    gradients are means over the ranks. Rank 0 searches with them, and the others answer for the weights that
    it asks about: whatever their processors would make of a search, all take the same steps. A step that ends
    in what is not finite is taken back and counted as skipped; its norm is NaN.

    Source: Nocedal & Wright 2006, "Numerical Optimization", algorithms 7.4, 3.5 and 3.6; PyTorch's.
    """
    weights = list(state.surrogate.parameters())
    before = parameters_to_vector(weights).detach().clone()
    losses = _losses(model, parts, state, options)
    optimiser = torch.optim.LBFGS(
        weights,
        lr=1,
        max_iter=options.finish.iterations,
        max_eval=2 * options.finish.iterations,
        # It ends where the line search finds nothing lower, not by the size of its steps.
        tolerance_grad=0,
        tolerance_change=0,
        history_size=_HISTORY,
        line_search_fn="strong_wolfe",
    )
    seen: list[tuple[float, float]] = []

    def evaluated() -> float:
        _take_over(weights, ranks, is_asked=True)
        return answered()

    def answered() -> float:
        loss, gradient = _mean(losses(), weights, ranks)
        for weight, part in zip(weights, _parts(gradient, weights), strict=True):
            weight.grad = part
        seen.append((loss, gradient.norm().item()))
        return loss

    if ranks.is_first:
        optimiser.step(evaluated)  # type: ignore[no-untyped-call]
    while _take_over(weights, ranks, is_asked=False):
        answered()
    optimiser.zero_grad()
    loss, norm = seen[0]
    if not math.isfinite(seen[-1][0]) or not parameters_to_vector(weights).isfinite().all():
        norm = math.nan
    if not math.isfinite(norm):
        vector_to_parameters(before, weights)
    count_step(state, norm)
    return loss, norm


def _take_over(weights: list[torch.nn.Parameter], ranks: Ranks, *, is_asked: bool) -> bool:
    """Gives every rank the weights of rank 0; whether it asks for the loss there, or is done."""
    if ranks.size == 1:
        return is_asked
    told = torch.cat([parameters_to_vector(weights).detach(), weights[0].new_tensor([is_asked])])
    told = ranks.sum(told if ranks.is_first else torch.zeros_like(told))
    with torch.no_grad():
        # In place, so that on rank 0 nothing changes.
        for weight, part in zip(weights, _parts(told[:-1], weights), strict=True):
            weight.copy_(part)
    return bool(told[-1])


def _parts(values: torch.Tensor, weights: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    """The part of each weight in a vector of all, in the weight's shape."""
    split = torch.split(values, [weight.numel() for weight in weights])
    return [part.view_as(weight) for part, weight in zip(split, weights, strict=True)]


def _losses(
    model: Model, parts: Iterable[Batch], state: State, options: Training
) -> Callable[[], Iterator[torch.Tensor]]:
    """What computes the losses of the parts. Points that residuals are taken at stay where they are, though a
    surrogate may choose them by its weights; else a line search would not see one function.
    """
    if isinstance(state.surrogate, LeastSquares):
        residuals = state.surrogate.residuals
        points = [state.surrogate.points(batch) for batch in parts]
        return lambda: (residuals(part).square().mean() for part in points)
    forward = model.module if isinstance(model, DistributedDataParallel) else model
    # A single part stays in memory; several are read anew for each evaluation.
    kept = list(parts) if options.gradient_accumulation_steps == 1 else parts
    return lambda: (loss_of(forward, batch, options) for batch in kept)


def _mean(
    losses: Iterator[torch.Tensor], weights: list[torch.nn.Parameter], ranks: Ranks
) -> tuple[float, torch.Tensor]:
    """The mean of the losses of all parts and ranks, and its gradient (P,)."""
    found = [
        torch.cat([loss.detach().view(1), *(part.flatten() for part in torch.autograd.grad(loss, weights))])
        for loss in losses
    ]
    total = ranks.sum(torch.stack(found).mean(0) / ranks.size)
    return float(total[0]), total[1:]
