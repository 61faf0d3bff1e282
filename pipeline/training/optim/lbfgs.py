"""Steps of L-BFGS, which may follow those of AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.training.step import Model, loss_of
from pipeline.training.train_state import TrainState
from surrogates.contract import Batch
from surrogates.physics.least_squares import LeastSquares

#: The number of pairs of changes of weights and gradient that approximate the Hessian.
_HISTORY_SIZE = 50


def lbfgs(
    model: Model, micro_batches: Iterable[Batch], state: TrainState, options: Training, ranks: Ranks
) -> tuple[float, float]:
    """Take at most `training.finish.iterations` iterations of L-BFGS on one batch.

    A step starts without history, so only the weights pass from one step to the next. Losses and
    gradients are means over the ranks. Rank 0 alone runs the line searches and broadcasts the weights to
    evaluate, so all ranks take the same steps even if their processors round differently. A step that ends
    with a loss or weights that are not finite is reverted and counted as skipped; its norm is NaN.

    Returns:
        The loss before the iterations, and the norm of its gradient.

    Source: Nocedal & Wright 2006, "Numerical Optimization", algorithms 7.4, 3.5 and 3.6; PyTorch's
    implementation.
    """
    weights = list(state.surrogate.parameters())
    initial_weights = parameters_to_vector(weights).detach().clone()
    losses = _loss_function(model, micro_batches, state, options)
    optimiser = torch.optim.LBFGS(
        weights,
        lr=1,
        max_iter=options.finish.iterations,
        max_eval=2 * options.finish.iterations,
        # Zero tolerances: only a line search without a lower loss ends the step, not the size of a change.
        tolerance_grad=0,
        tolerance_change=0,
        history_size=_HISTORY_SIZE,
        line_search_fn="strong_wolfe",
    )
    evaluations: list[tuple[float, float]] = []

    def closure() -> float:
        _broadcast_weights(weights, ranks, is_query=True)
        return evaluate()

    def evaluate() -> float:
        loss, gradient = _mean_loss_and_gradient(losses(), weights, ranks)
        for weight, weight_gradient in zip(weights, _split_by_weight(gradient, weights), strict=True):
            weight.grad = weight_gradient
        evaluations.append((loss, gradient.norm().item()))
        return loss

    if ranks.is_first:
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    while _broadcast_weights(weights, ranks, is_query=False):
        evaluate()
    optimiser.zero_grad()
    loss, norm = evaluations[0]
    if not math.isfinite(evaluations[-1][0]) or not parameters_to_vector(weights).isfinite().all():
        norm = math.nan
    if not math.isfinite(norm):
        vector_to_parameters(initial_weights, weights)
    state.count_step(norm)
    return loss, norm


def _broadcast_weights(weights: list[torch.nn.Parameter], ranks: Ranks, *, is_query: bool) -> bool:
    """Copy the weights of rank 0 to every rank.

    Returns:
        Whether rank 0 asks for the loss at these weights; False ends the step.
    """
    if ranks.size == 1:
        return is_query
    message = torch.cat([parameters_to_vector(weights).detach(), weights[0].new_tensor([is_query])])
    message = ranks.sum(message if ranks.is_first else torch.zeros_like(message))
    with torch.no_grad():
        # In place, so that nothing changes on rank 0.
        for weight, new_values in zip(weights, _split_by_weight(message[:-1], weights), strict=True):
            weight.copy_(new_values)
    return bool(message[-1])


def _split_by_weight(values: torch.Tensor, weights: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    """Return the part of each weight in a vector of all weights, in the shape of the weight."""
    weight_values = torch.split(values, [weight.numel() for weight in weights])
    return [flat_values.view_as(weight) for flat_values, weight in zip(weight_values, weights, strict=True)]


def _loss_function(
    model: Model, micro_batches: Iterable[Batch], state: TrainState, options: Training
) -> Callable[[], Iterator[torch.Tensor]]:
    """Return a function that computes the losses of the micro-batches at the current weights.

    The points of residuals are chosen once, though a surrogate may choose points by its weights: a line
    search needs the same function at every evaluation.
    """
    if isinstance(state.surrogate, LeastSquares):
        residuals = state.surrogate.residuals
        points = [state.surrogate.points(batch) for batch in micro_batches]
        return lambda: (residuals(batch_points).square().mean() for batch_points in points)
    forward = model.module if isinstance(model, DistributedDataParallel) else model
    # A single micro-batch stays in memory; several micro-batches are loaded again for each evaluation.
    batches = list(micro_batches) if options.gradient_accumulation_steps == 1 else micro_batches
    return lambda: (loss_of(forward, batch, options) for batch in batches)


def _mean_loss_and_gradient(
    losses: Iterator[torch.Tensor], weights: list[torch.nn.Parameter], ranks: Ranks
) -> tuple[float, torch.Tensor]:
    """Return the mean of the losses of all micro-batches and ranks, and its gradient (P,)."""
    rows = [
        torch.cat(
            [
                loss.detach().view(1),
                *(weight_gradient.flatten() for weight_gradient in torch.autograd.grad(loss, weights)),
            ]
        )
        for loss in losses
    ]
    mean_row = ranks.sum(torch.stack(rows).mean(0) / ranks.size)
    return float(mean_row[0]), mean_row[1:]
