"""The training loop: the same steps on one rank or many, interrupted or not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch

from pipeline.config.settings import Training
from pipeline.data.dataset import Dataset
from pipeline.parallel.gradient_allreduce import GradientCommunicator
from pipeline.parallel.ranks import Ranks
from pipeline.parallel.stopping import StopRequest
from pipeline.runs import progress
from pipeline.training import checkpoint, option_checks
from pipeline.training.batches.sources import GridData, Sources
from pipeline.training.device import precision
from pipeline.training.device.compile import compiled
from pipeline.training.device.out_of_memory import explain_exhaustion
from pipeline.training.log import Log, StepTimes
from pipeline.training.nonfinite import too_many_skipped
from pipeline.training.optim import second_order
from pipeline.training.optim.adamw import AdamW
from pipeline.training.optim.ema import moving_average
from pipeline.training.optim.loss_weights import balance
from pipeline.training.preparation import prepare
from pipeline.training.step import Model, data_parallel, train_step
from pipeline.training.train_state import TrainState
from pipeline.training.validation import rollout_error
from surrogates.contract import Batch, Surrogate


class RecordEntries(TypedDict, total=False):
    """The entries of a training in the run record.

    `bfloat16_errors` are the relative errors of `loss` and `gradient` with `training.precision=bfloat16`.
    `compiled` is true if the compiled forward is used, with `training.compile`. `preparation` describes the
    buffers that `Surrogate.initialise` computed. `skipped` is true if the model was complete before.
    `skipped_steps` are the steps whose gradient was not finite. `symmetries` are the names of the symmetries
    of the data that training used. `valid_error` is the smallest rollout error on the valid split.
    """

    bfloat16_errors: dict[str, float]
    compiled: bool
    preparation: str
    skipped: bool
    skipped_steps: list[int]
    symmetries: list[str]
    valid_error: float


def train(
    surrogate: Surrogate,
    dataset: Dataset,
    *,
    other_grids: Sequence[GridData] = (),
    options: Training,
    seed: int,
    ranks: Ranks,
    folder: Path,
    configuration: Mapping[str, object],
    report: Callable[[int, int, str], None],
    request: StopRequest,
) -> tuple[TrainState, RecordEntries]:
    """Train a surrogate to the end, from the newest intact checkpoint or from the start.

    The seed and the step determine the global batch, the learning rate and the random numbers of a step. An
    interrupted run therefore ends with the same bits as an undisturbed run on as many ranks. A `request` to
    any rank ends the run after the current step, with a checkpoint.

    Args:
        surrogate: model with its initial weights.
        dataset: validated data set.
        other_grids: further data sets on other grids, with surrogates that share the weights.
        options: settings of `training`.
        seed: root seed of the run.
        ranks: ranks that train together.
        folder: folder of the model; checkpoints are in its subfolder `checkpoints`.
        configuration: options that determine the result; each checkpoint holds the options.
        report: receiver of the steps done, the steps in total, and their unit.
        request: stop request of this rank.

    Returns:
        The final state, whose `best_weights` have the smallest rollout error on the valid split, and the
        results of the checks of precision and compilation.

    Raises:
        UserError: the batch does not fit the ranks; the device lacks the precision or the memory. An option
            does not suit the surrogate; every checkpoint is damaged. More than `training.max_skipped_steps`
            gradients were not finite.
    """
    precision.check_device(options.precision, ranks.device)
    option_checks.check(surrogate, options)
    surrogate.to(ranks.device)
    preparation = prepare(surrogate, dataset, folder, ranks)
    sources = Sources([GridData(surrogate, dataset), *other_grids], options, seed, ranks)
    forward, entries = _checked_forward(
        surrogate, sources.forward(), sources.micro_batches(0), options, ranks
    )
    order = sources.at(0).order
    entries["symmetries"] = [symmetry.name for symmetry in sources.at(0).symmetries]
    if preparation:
        entries["preparation"] = preparation
    state = _initial_state(surrogate, options, folder, ranks)
    sources.follow(state.rows)
    log = Log(folder, options, state) if ranks.is_first else None
    gradient_communicator = GradientCommunicator(ranks.communicator)
    model = data_parallel(forward, ranks, gradient_communicator)
    pending_loss, state.pending_losses = _own_pending_loss(state.pending_losses, ranks), []
    seconds = 0.0
    total_steps = options.total_steps
    report(state.step, total_steps, "steps")
    total_samples, done_samples = total_steps * options.batch_size, state.step * options.batch_size
    with (
        progress.bar(None, "samples", rank=ranks.rank, total=total_samples, initial=done_samples) as bar,
        explain_exhaustion(order, options, ranks),
    ):
        while state.step < total_steps:
            any_request = ranks.any_async(request.is_received)
            # Random numbers inside a model differ between ranks, and are the same after a resume.
            torch.manual_seed(np.random.SeedSequence([seed, state.step, ranks.rank]).generate_state(1)[0])
            step_start = time.perf_counter()
            loss, norm = _take_step(model, sources.micro_batches(state.step), state, options, ranks)
            seconds += time.perf_counter() - step_start
            if math.isfinite(norm):
                pending_loss += loss
            elif len(state.skipped_steps) > options.max_skipped_steps:
                source = sources.at(state.step - 1)
                raise too_many_skipped(
                    source.data.surrogate,
                    dataset=source.data.dataset,
                    loader=source.loader,
                    value_weights=source.value_weights,
                    batch=source.order.global_batch(state.step - 1),
                    skipped_steps=state.skipped_steps,
                    norm=norm,
                    options=options,
                    seed=seed,
                )
            elif log is not None:
                log.report(f"step {state.step} is skipped: its gradient's norm is {norm}")
            bar.update(options.batch_size)
            bar.set_postfix(step=state.step, loss=f"{loss:.3e}", refresh=False)
            is_validation_due = _is_due(state.step, options.validate_every, total_steps)
            # Second-order steps take long, so each second-order step and the last step of AdamW are saved.
            is_save_due = state.step >= options.steps or _is_due(
                state.step, options.checkpoint_every, total_steps
            )
            if is_validation_due or is_save_due:
                state.loss_sum += sum(ranks.gather(pending_loss)) / ranks.size
                pending_loss = 0.0
            if is_validation_due:
                error = rollout_error(state.evaluated_model, dataset, ranks, order.micro_batch_size)
                state.add_validation(error, options)
            is_stopping = any_request() and state.step < total_steps
            if is_stopping:
                state.pending_losses = ranks.gather(pending_loss)
            if (is_save_due or is_stopping) and ranks.is_first:
                new_checkpoint = state.to_checkpoint(configuration)
                checkpoint.save(folder / "checkpoints", new_checkpoint, options.keep_checkpoints)
            if is_validation_due:
                # The log comes after the checkpoint, so that a full disk does not prevent the checkpoint.
                times = StepTimes(
                    seconds,
                    sources.take_data_seconds(),
                    # Other libraries overlap the communication with the backward pass.
                    gradient_communicator.take_seconds()
                    if ranks.size == 1 or ranks.communicator is not None
                    else math.nan,
                )
                if log is not None:
                    log.add_row(state.rows, times)
                seconds = 0.0
            report(state.step, total_steps, "steps")
            if is_stopping:
                # The other ranks wait until rank 0 has written the checkpoint.
                ranks.broadcast(None)
                break
    return state, entries


def _checked_forward(
    surrogate: Surrogate,
    forward: torch.nn.Module,
    micro_batches: Iterable[Batch],
    options: Training,
    ranks: Ranks,
) -> tuple[torch.nn.Module, RecordEntries]:
    """Return the forward to train, after a check of mixed precision and of the compiled forward."""
    entries: RecordEntries = {}
    if options.precision == "bfloat16":
        batch = next(iter(micro_batches))
        entries["bfloat16_errors"] = precision.check_mixed(surrogate, batch, options, ranks)
    if options.compile:
        forward = compiled(surrogate, next(iter(micro_batches)), options, ranks)
        entries["compiled"] = forward is not surrogate
    return forward, entries


def _initial_state(surrogate: Surrogate, options: Training, folder: Path, ranks: Ranks) -> TrainState:
    """Return the state of the newest intact checkpoint, or a fresh state."""
    optimiser = AdamW(surrogate.parameters(), fused=True)
    state = TrainState(surrogate, optimiser, moving_average(surrogate, options.ema))
    state.loss_weights = dict.fromkeys(surrogate.losses if options.balance_every else (), 1.0)
    newest_path = ranks.broadcast(
        checkpoint.newest_intact(folder / "checkpoints") if ranks.is_first else None
    )
    if newest_path is not None:
        state.restore(checkpoint.load(newest_path), options)
    return state


def _own_pending_loss(pending_losses: list[float], ranks: Ranks) -> float:
    """Return this rank's share of the losses that were pending on the ranks of a checkpoint."""
    if len(pending_losses) == ranks.size:
        return pending_losses[ranks.rank]
    return sum(pending_losses) / len(pending_losses) if pending_losses else 0.0


def _take_step(
    model: Model, micro_batches: Iterable[Batch], state: TrainState, options: Training, ranks: Ranks
) -> tuple[float, float]:
    """Take a step of AdamW or, after `training.steps`, of the second-order method.

    Returns:
        This rank's loss before the step, and the gradient norm.
    """
    if state.step < options.steps:
        if options.balance_every and state.step % options.balance_every == 0:
            balance(state, micro_batches, options, ranks)
        return train_step(model, micro_batches, state, options)
    return second_order.METHODS[options.finish.method](model, micro_batches, state, options, ranks)


def _is_due(step: int, interval: int, last_step: int) -> bool:
    return step % interval == 0 or step == last_step
