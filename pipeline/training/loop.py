"""The training loop: the same steps on one rank or many, interrupted or not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from pipeline import progress
from pipeline.data.dataset import Dataset
from pipeline.parallel import stopping
from pipeline.settings import Training
from pipeline.training import checkpoint, precision
from pipeline.training.distributed import Ranks
from pipeline.training.log import Log
from pipeline.training.sampling import Batches
from pipeline.training.state import State
from pipeline.training.validation import rollout_error
from surrogates.contract import Batch, Surrogate


def train(
    surrogate: Surrogate,
    dataset: Dataset,
    *,
    options: Training,
    seed: int,
    ranks: Ranks,
    folder: Path,
    configuration: Mapping[str, Any],
    report: Callable[[int, int, str], None],
) -> State:
    """Trains to the end, from the newest good checkpoint in `folder/checkpoints` or from the start.

    The global batch, the learning rate and the random numbers of a step follow from the seed and the
    step alone, so that an interrupted run ends with the same bits as an undisturbed one on as many ranks.
    The state that comes back has the weights with the smallest roll-out error on the valid split as
    `best_weights`. `configuration` is kept in the checkpoints; `report` gets the steps done and those to do.

    Raises:
        ValueError: the batch does not fit the ranks; the device lacks the precision; every checkpoint
            is damaged; the gradient is no longer finite.
        StoppedError: SIGUSR1 came to a rank; a checkpoint was written after the step.
    """
    precision.check_mixed(options.precision, ranks.device)
    windows = dataset.windows("train", options.unroll + 1)
    batches = Batches(len(windows), options.batch_size, seed, ranks.rank, ranks.size)
    surrogate.to(ranks.device)
    state = State(surrogate, torch.optim.AdamW(surrogate.parameters(), fused=True))
    newest = ranks.agree(checkpoint.newest_good(folder / "checkpoints") if ranks.is_first else None)
    if newest is not None:
        state.restore(checkpoint.load(newest))
    log = Log(folder, options, state) if ranks.is_first else None
    model = shared(surrogate, ranks)
    pending = _share(state.pending, ranks)
    report(state.step, options.steps, "steps")
    total, done = options.steps * options.batch_size, state.step * options.batch_size
    with (
        stopping.listening() as request,
        progress.bar(None, "samples", rank=ranks.rank, total=total, initial=done) as bar,
    ):
        while state.step < options.steps:
            stops = ranks.any_soon(request.received)
            # Random numbers within a model differ from rank to rank and are the same after a resume.
            torch.manual_seed(np.random.SeedSequence([seed, state.step, ranks.rank]).generate_state(1)[0])
            batch = tensors(windows.take(batches.at(state.step)), surrogate)
            loss = _update(model, batch, state, options)
            pending += loss
            bar.update(options.batch_size)
            bar.set_postfix(step=state.step, loss=f"{loss:.3e}", refresh=False)
            validates = _is_due(state.step, options.validate_every, options.steps)
            saves = _is_due(state.step, options.checkpoint_every, options.steps)
            if validates or saves:
                state.loss_sum += sum(ranks.listed(pending)) / ranks.size
                pending = 0.0
            if validates:
                _validate(state, rollout_error(surrogate, dataset, ranks, options.batch_size), options)
                if log is not None:
                    log.show(state.rows)
            is_last = stops() and state.step < options.steps
            if is_last:
                state.pending = ranks.listed(pending)
            if (saves or is_last) and ranks.is_first:
                saved = state.to_checkpoint(configuration)
                checkpoint.save(folder / "checkpoints", saved, options.keep_checkpoints)
            report(state.step, options.steps, "steps")
            if is_last:
                ranks.agree(None)
                raise stopping.StoppedError(
                    f"a checkpoint of step {state.step} of {options.steps} is there; run it again to go on"
                )
    return state


def _share(pending: list[float], ranks: Ranks) -> float:
    """What this rank takes over of the losses that the ranks of a checkpoint had each not added up."""
    if len(pending) == ranks.size:
        return pending[ranks.rank]
    return sum(pending) / len(pending) if pending else 0.0


def shared(surrogate: Surrogate, ranks: Ranks) -> Callable[[Batch], dict[str, torch.Tensor]]:
    """The surrogate's forward, with gradients that are averaged over the ranks."""
    if ranks.size == 1:
        return surrogate
    # One bucket: on a network of processors the number of messages counts more than their overlap.
    return DistributedDataParallel(surrogate, forward_sync_buffers=False, bucket_cap_mb=256)


def tensors(batch: Mapping[str, np.ndarray], surrogate: Surrogate) -> Batch:
    """A batch of arrays on the surrogate's device and in the precision of its weights."""
    like = next(surrogate.parameters())
    return cast(
        Batch,
        {name: torch.from_numpy(array).to(like.device, like.dtype) for name, array in batch.items()},
    )


def learning_rate(step: int, options: Training) -> float:
    """A linear warm-up, then a cosine down to zero; a function of the step alone."""
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(1, options.steps - options.warmup_steps)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _update(
    model: Callable[[Batch], dict[str, torch.Tensor]], batch: Batch, state: State, options: Training
) -> float:
    """One step of the optimiser; this rank's loss before it."""
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(state.step, options)
        group["weight_decay"] = options.weight_decay
    state.optimiser.zero_grad()
    device_type = batch["state"].device.type
    with torch.autocast(device_type, torch.bfloat16, enabled=options.precision == "bfloat16"):
        loss = torch.stack(list(model(batch).values())).sum()
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(state.surrogate.parameters(), options.gradient_clip)
    if not norm.isfinite():
        raise ValueError(
            f"the gradient's norm is {norm.item()} at step {state.step}, with a loss of {loss.item():g} on "
            f"this rank: lower training.learning_rate={options.learning_rate:g} or training.unroll="
            f"{options.unroll}"
        )
    state.optimiser.step()
    state.step += 1
    return loss.item()


def _validate(state: State, error: float, options: Training) -> None:
    """Adds a row to the log, and keeps the weights if they are the best so far."""
    last_row = state.rows[-1][0] if state.rows else 0
    mean_loss = state.loss_sum / (state.step - last_row)
    state.rows.append([state.step, learning_rate(state.step - 1, options), mean_loss, error])
    state.loss_sum = 0.0
    # Nothing compares with nan: weights whose roll-outs diverge would stay the best for ever.
    comparable = error if math.isfinite(error) else math.inf
    if comparable < state.best_error or not state.best_weights:
        state.best_error, state.best_step = comparable, state.step
        weights = state.surrogate.state_dict()
        state.best_weights = {name: tensor.detach().clone() for name, tensor in weights.items()}


def _is_due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last
