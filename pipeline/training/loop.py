"""The training loop: the same steps on one rank or many, interrupted or not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.config.settings import Training
from pipeline.data.dataset import Dataset
from pipeline.parallel.ranks import Ranks
from pipeline.parallel.stopping import StopRequest
from pipeline.runs import progress
from pipeline.training import checkpoint, option_checks
from pipeline.training.batches.augment import with_noise, with_random
from pipeline.training.batches.loader import Reader
from pipeline.training.batches.order import Batches
from pipeline.training.device import precision
from pipeline.training.device.compile import compiled
from pipeline.training.device.out_of_memory import exhaustion_explained
from pipeline.training.learning_rate import learning_rate
from pipeline.training.log import Log
from pipeline.training.nonfinite import too_many_skipped
from pipeline.training.optim import second_order
from pipeline.training.optim.ema import moving_average
from pipeline.training.optim.loss_weights import balance
from pipeline.training.step import Model, shared, update
from pipeline.training.train_state import State
from pipeline.training.validation import rollout_error
from surrogates.contract import Batch, Surrogate

#: The facts for the record that come of the checks at the start.
CHECKS = {"bfloat16_errors", "compiled"}


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
    request: StopRequest,
) -> tuple[State, dict[str, Any]]:
    """Trains to the end, from the newest good checkpoint in `folder/checkpoints` or from the start.

    The global batch, the learning rate and the random numbers of a step follow from the seed and the
    step alone, so that an interrupted run ends with the same bits as an undisturbed one on as many ranks.
    A `request` to any rank ends it after the step that it is at, with a checkpoint.
    The state that comes back has the weights with the smallest roll-out error on the valid split as
    `best_weights`; beside it come facts for the record, see `_checked`. `configuration` is kept in the
    checkpoints; `report` gets the steps done and those to do.

    Raises:
        UserError: the batch does not fit the ranks; the device lacks the precision, or it is too coarse for
            the loss; options do not suit the surrogate; every checkpoint is damaged; the device has too
            little memory; the gradient was not finite at more than `training.max_skipped_steps` steps.
    """
    precision.check_device(options.precision, ranks.device)
    option_checks.check(surrogate, options)
    surrogate.to(ranks.device)
    reader = Reader(dataset, options.unroll + 1, next(surrogate.parameters()))
    batches = Batches(
        len(reader),
        options.batch_size,
        seed,
        ranks.rank,
        ranks.size,
        num_parts=options.gradient_accumulation_steps,
    )
    first = _Parts(reader, batches, 0, surrogate, options, seed)
    forward, checks = _checked(surrogate, first, options, ranks)
    optimiser = torch.optim.AdamW(surrogate.parameters(), fused=True)
    state = State(surrogate, optimiser, moving_average(surrogate, options.ema))
    state.loss_weights = dict.fromkeys(surrogate.losses if options.balance_every else (), 1.0)
    newest = ranks.broadcast(checkpoint.newest_good(folder / "checkpoints") if ranks.is_first else None)
    if newest is not None:
        state.restore(checkpoint.load(newest))
    log = Log(folder, options, state) if ranks.is_first else None
    model = shared(forward, ranks)
    pending, state.pending = _share(state.pending, ranks), []
    spent = 0.0
    last = options.total_steps
    report(state.step, last, "steps")
    total, done = last * options.batch_size, state.step * options.batch_size
    with (
        progress.bar(None, "samples", rank=ranks.rank, total=total, initial=done) as bar,
        exhaustion_explained(batches, options, ranks),
    ):
        while state.step < last:
            stops = ranks.any_async(request.received)
            # Random numbers within a model differ from rank to rank and are the same after a resume.
            torch.manual_seed(np.random.SeedSequence([seed, state.step, ranks.rank]).generate_state(1)[0])
            begun = time.perf_counter()
            parts = _Parts(reader, batches, state.step, surrogate, options, seed)
            loss, norm = _take_step(model, parts, state, options, ranks)
            spent += time.perf_counter() - begun
            if math.isfinite(norm):
                pending += loss
            elif len(state.skipped) > options.max_skipped_steps:
                raise too_many_skipped(
                    surrogate,
                    dataset=dataset,
                    reader=reader,
                    batch=batches.global_batch(state.step - 1),
                    skipped=state.skipped,
                    norm=norm,
                    options=options,
                    seed=seed,
                )
            elif log is not None:
                log.tell(f"step {state.step} is skipped: its gradient's norm is {norm}")
            bar.update(options.batch_size)
            bar.set_postfix(step=state.step, loss=f"{loss:.3e}", refresh=False)
            validates = _is_due(state.step, options.validate_every, last)
            # A step of the finish is long: each is saved, and what AdamW came to.
            saves = state.step >= options.steps or _is_due(state.step, options.checkpoint_every, last)
            if validates or saves:
                state.loss_sum += sum(ranks.gather(pending)) / ranks.size
                pending = 0.0
            if validates:
                _validate(state, rollout_error(state.judged, dataset, ranks, batches.at_once), options)
                if log is not None:
                    log.show(state.rows, spent, reader.waited)
                spent = reader.waited = 0.0
            is_last = stops() and state.step < last
            if is_last:
                state.pending = ranks.gather(pending)
            if (saves or is_last) and ranks.is_first:
                saved = state.to_checkpoint(configuration)
                checkpoint.save(folder / "checkpoints", saved, options.keep_checkpoints)
            report(state.step, last, "steps")
            if is_last:
                ranks.broadcast(None)
                break
    return state, checks


def _checked(
    surrogate: Surrogate, parts: Iterable[Batch], options: Training, ranks: Ranks
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The forward to train, once what is faster has shown on the first part that it computes the same; with
    what was found, by `CHECKS`.
    """
    forward: torch.nn.Module = surrogate
    found: dict[str, Any] = {}
    if options.precision == "bfloat16":
        found["bfloat16_errors"] = precision.check_mixed(surrogate, next(iter(parts)), options, ranks)
    if options.compile:
        forward = compiled(surrogate, next(iter(parts)), options, ranks)
        found["compiled"] = forward is not surrogate
    return forward, found


def _share(pending: list[float], ranks: Ranks) -> float:
    """What this rank takes over of the losses that the ranks of a checkpoint had each not added up."""
    if len(pending) == ranks.size:
        return pending[ranks.rank]
    return sum(pending) / len(pending) if pending else 0.0


@dataclass(frozen=True)
class _Parts:
    """What this rank computes a step's gradient from, one part after the other, as often as it is asked."""

    reader: Reader
    batches: Batches
    step: int
    surrogate: Surrogate
    options: Training
    seed: int

    def __iter__(self) -> Iterator[Batch]:
        for places, windows in self.batches.parts(self.step):
            batch = self.reader.take(windows)
            seed, step, surrogate = self.seed, self.step, self.surrogate
            noise = self.options.noise
            batch = with_noise(batch, surrogate.problem, noise, seed=seed, step=step, places=places)
            yield with_random(batch, surrogate.num_random, seed=seed, step=step, places=places)


def _take_step(
    model: Model, parts: Iterable[Batch], state: State, options: Training, ranks: Ranks
) -> tuple[float, float]:
    """A step of AdamW or, behind these, of the finish; this rank's loss before it, the gradient's norm."""
    if state.step < options.steps:
        if options.balance_every and state.step % options.balance_every == 0:
            balance(state, parts, options, ranks)
        return update(model, parts, state, options)
    return second_order.METHODS[options.finish.method](model, parts, state, options, ranks)


def _validate(state: State, error: float, options: Training) -> None:
    """Adds a row to the log, and keeps the weights if they are the best so far."""
    last_row = state.rows[-1][0] if state.rows else 0
    num_steps = state.step - last_row - sum(step > last_row for step in state.skipped)
    mean_loss = state.loss_sum / num_steps if num_steps else math.nan
    rate = learning_rate(state.step - 1, options) if state.step <= options.steps else 0.0
    row = [state.step, rate, mean_loss, error, len(state.skipped)]
    state.rows.append(
        row + [state.loss_weights[name] for name in state.surrogate.losses if state.loss_weights]
    )
    state.loss_sum = 0.0
    # Nothing compares with nan: weights whose roll-outs diverge would stay the best for ever.
    comparable = error if math.isfinite(error) else math.inf
    if comparable < state.best_error or not state.best_weights:
        state.best_error, state.best_step = comparable, state.step
        weights = state.judged.state_dict()
        state.best_weights = {name: tensor.detach().clone() for name, tensor in weights.items()}


def _is_due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last
