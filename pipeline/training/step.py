"""One step of the optimiser, whole on all ranks or left out on all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext

import torch
from torch.nn.parallel import DistributedDataParallel

from pipeline.config.settings import Training
from pipeline.parallel.gradient_allreduce import mean_over_ranks
from pipeline.parallel.ranks import Ranks
from pipeline.training.learning_rate import learning_rate
from pipeline.training.train_state import State
from surrogates.contract import Batch

Model = Callable[[Batch], Mapping[str, torch.Tensor]]


def shared(surrogate: torch.nn.Module, ranks: Ranks) -> Model:
    """The surrogate's forward, with gradients that are averaged over the ranks."""
    if ranks.size == 1:
        return surrogate
    # One bucket: on a network of processors the number of messages counts more than their overlap.
    model = DistributedDataParallel(
        surrogate,
        process_group=ranks.group,
        forward_sync_buffers=False,
        bucket_cap_mb=256,
        gradient_as_bucket_view=True,
    )
    if ranks.communicator is not None:
        model.register_comm_hook(ranks.communicator, mean_over_ranks)
    return model


def update(model: Model, parts: Iterable[Batch], state: State, options: Training) -> tuple[float, float]:
    """Takes the step, or skips it if its gradient is not finite; this rank's loss before it, the sum without
    weights, and the gradient's norm.

    `parts` are `training.gradient_accumulation_steps` batches of equal size, in memory one after the
    other; ranks exchange gradients after the last one alone.

    The norm is that of the gradient averaged over the ranks, the same on all of them, so that they need
    not ask each other whether to take the step. A loss that is not finite makes each gradient so too.
    """
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(state.step, options)
        group["weight_decay"] = options.weight_decay
    state.optimiser.zero_grad()
    count = options.gradient_accumulation_steps
    total = 0.0
    for number, batch in enumerate(parts, start=1):
        waits = number < count and isinstance(model, DistributedDataParallel)
        with model.no_sync() if waits else nullcontext():  # type: ignore[attr-defined]
            losses = losses_of(model, batch, options)
            loss = _sum(losses, state.loss_weights) / count
            # 1 where the loss is finite, else NaN: 0 times infinity.
            torch.autograd.backward(loss, 1 + 0 * loss.detach())
        total += (_sum(losses) / count).item() if state.loss_weights else loss.item()
    norm = torch.nn.utils.clip_grad_norm_(state.surrogate.parameters(), options.gradient_clip).item()
    if math.isfinite(norm):
        state.optimiser.step()
        if state.average is not None:
            state.average.update_parameters(state.surrogate)
    count_step(state, norm)
    return total, norm


def count_step(state: State, norm: float) -> None:
    """Counts a step that was taken, or one that was skipped because `norm` is not finite."""
    state.step += 1
    if not math.isfinite(norm):
        state.skipped.append(state.step)


def loss_of(model: Model, batch: Batch, options: Training) -> torch.Tensor:
    """The sum of the losses of a batch, in the arithmetic of `training.precision`."""
    return _sum(losses_of(model, batch, options))


def losses_of(model: Model, batch: Batch, options: Training) -> Mapping[str, torch.Tensor]:
    """The losses of a batch by name, in the arithmetic of `training.precision`."""
    with torch.autocast(batch["state"].device.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
        return model(batch)


def _sum(losses: Mapping[str, torch.Tensor], weights: Mapping[str, float] | None = None) -> torch.Tensor:
    """The sum of losses, each times its weight where there are weights."""
    terms = [weights[name] * loss if weights else loss for name, loss in losses.items()]
    return torch.stack(terms).sum()
