"""One step of AdamW, applied on all ranks or skipped on all ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext

import torch
from torch.nn.parallel import DistributedDataParallel

from pipeline.config.settings import Training
from pipeline.parallel.gradient_allreduce import GradientCommunicator, mean_over_ranks
from pipeline.parallel.ranks import Ranks
from pipeline.training.learning_rate import learning_rate
from pipeline.training.train_state import TrainState
from surrogates.contract import Batch

Model = Callable[[Batch], Mapping[str, torch.Tensor]]


def data_parallel(
    surrogate: torch.nn.Module, ranks: Ranks, gradient_communicator: GradientCommunicator | None = None
) -> Model:
    """Return the surrogate's forward, with gradients that are averaged over the ranks.

    Args:
        surrogate: the surrogate.
        ranks: the ranks that train together.
        gradient_communicator: the communicator of `ranks` with a clock, for ranks with a communicator.
    """
    if ranks.size == 1:
        return surrogate
    # A single bucket, because on processors additional messages cost more time than their overlap saves.
    model = DistributedDataParallel(
        surrogate,
        process_group=ranks.group,
        forward_sync_buffers=False,
        bucket_cap_mb=256,
        gradient_as_bucket_view=True,
    )
    if ranks.communicator is not None:
        state = gradient_communicator or GradientCommunicator(ranks.communicator)
        model.register_comm_hook(state, mean_over_ranks)
    return model


def train_step(
    model: Model, micro_batches: Iterable[Batch], state: TrainState, options: Training
) -> tuple[float, float]:
    """Take a step of AdamW, or skip it if the gradient is not finite.

    The gradient norm is the norm of the gradient averaged over the ranks. The norm is equal on all ranks, so
    all ranks make the same decision without communication. A loss that is not finite makes every gradient
    not finite.

    Args:
        model: forward of the surrogate, see `data_parallel`.
        micro_batches: `training.gradient_accumulation_steps` batches of equal size, one at a time in memory;
            the ranks exchange gradients after the last one only.
        state: training state, updated in place.
        options: settings of `training`.

    Returns:
        This rank's loss before the step (the sum without weights), and the gradient norm.
    """
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(state.step, options)
        group["weight_decay"] = options.weight_decay
    state.optimiser.zero_grad()
    count = options.gradient_accumulation_steps
    total_loss = 0.0
    for position, batch in enumerate(micro_batches, start=1):
        is_accumulating = position < count and isinstance(model, DistributedDataParallel)
        with model.no_sync() if is_accumulating else nullcontext():  # type: ignore[attr-defined]
            losses = losses_of(model, batch, options)
            loss = _weighted_sum(losses, state.loss_weights) / count
            # The factor is 1 for a finite loss and NaN, 0 times infinity, for any other loss.
            (loss * (1 + 0 * loss.detach())).backward()  # type: ignore[no-untyped-call]
        total_loss += (_weighted_sum(losses) / count).item() if state.loss_weights else loss.item()
    norm = torch.nn.utils.clip_grad_norm_(state.surrogate.parameters(), options.gradient_clip).item()
    if math.isfinite(norm):
        state.optimiser.step()
        if state.ema is not None:
            state.ema.update_parameters(state.surrogate)
    state.count_step(norm)
    return total_loss, norm


def loss_of(model: Model, batch: Batch, options: Training) -> torch.Tensor:
    """Return the sum of the losses of a batch, in the arithmetic of `training.precision`."""
    return _weighted_sum(losses_of(model, batch, options))


def losses_of(model: Model, batch: Batch, options: Training) -> Mapping[str, torch.Tensor]:
    """Return the losses of a batch by name, in the arithmetic of `training.precision`."""
    with torch.autocast(batch["state"].device.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
        return model(batch)


def _weighted_sum(
    losses: Mapping[str, torch.Tensor], weights: Mapping[str, float] | None = None
) -> torch.Tensor:
    """Return the sum of the losses, each multiplied by its weight if `weights` has any."""
    terms = [weights[name] * loss if weights else loss for name, loss in losses.items()]
    return torch.stack(terms).sum()
