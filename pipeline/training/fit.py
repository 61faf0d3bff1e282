"""The training of one model in its folder, from an empty or interrupted folder to `model.safetensors`."""

from __future__ import annotations

import io
import math
from pathlib import Path

import torch

from pipeline.config.settings import Training
from pipeline.parallel.ranks import Ranks
from pipeline.parallel.stopping import StopRequest
from pipeline.training.continuation import continuation_message
from pipeline.training.ensemble import ProgressReport
from pipeline.training.fine_tuning import merge_adapters
from pipeline.training.loop import RecordEntries, train
from pipeline.training.model_folder import prepare
from pipeline.training.task import TrainingIdentity, TrainingTask, origin
from pipeline.training.train_state import TrainState
from simsurrogate.errors import UserError
from simsurrogate.files import remove_partials, writable_folder, write_whole
from surrogates import store


def fit(
    task: TrainingTask,
    folder: Path,
    identity: TrainingIdentity,
    *,
    seed: int,
    ranks: Ranks,
    report: ProgressReport,
    request: StopRequest,
) -> tuple[int, RecordEntries]:
    """Train and save a model in a folder, unless the folder holds the complete model.

    Args:
        task: surrogate, options and data set.
        folder: folder of the model.
        identity: options that determine the weights, with the number of the member in an ensemble.
        seed: seed of the initial weights and of the batches.
        ranks: ranks that train this model.
        report: receiver of the progress.
        request: stop request of this rank.

    Returns:
        The optimiser steps done, and entries for the run record.

    Raises:
        UserError: see `prepare` and `pipeline.training.loop.train`; or the training has no useful weights.
    """
    steps = task.training.total_steps
    prepared = ranks.broadcast(prepare(folder, identity, task.overwrite) if ranks.is_first else None)
    if prepared is None:
        return steps, report_complete(folder, ranks)
    identity = prepared
    if ranks.is_first:
        remove_partials(folder)
        writable_folder(folder / "checkpoints")
        if message := continuation_message(identity, task.training):
            print(f"{folder}: {message}", flush=True)
    torch.manual_seed(seed)
    surrogate = task.build_surrogate(ranks.size)
    state, entries = train(
        surrogate,
        task.dataset,
        other_grids=task.on_other_grids(surrogate),
        options=task.training,
        seed=seed,
        ranks=ranks,
        folder=folder,
        configuration=identity,
        report=report,
        request=request,
    )
    if state.step == steps:
        _refuse_useless_weights(state, task.training)
    if state.step < steps or not ranks.is_first:
        return state.step, entries
    surrogate.load_state_dict(state.best_weights)
    merge_adapters(surrogate)
    draw_curves(folder)
    metadata = {**origin(task, identity), "valid_error": state.best_error, "step": state.best_step}
    store.save(folder, surrogate, task.surrogate, task.surrogate_options, metadata)
    print(f"{folder}: valid rollout error {state.best_error:.3e} (step {state.best_step})", flush=True)
    entries["valid_error"], entries["skipped_steps"] = state.best_error, state.skipped_steps
    return state.step, entries


def _refuse_useless_weights(state: TrainState, training: Training) -> None:
    """Refuse to save weights that were never trained, or whose rollouts are not finite; on all ranks.

    Raises:
        UserError: every step up to the best weights was skipped, or no validation had a finite error.
    """
    num_skipped = sum(step <= state.best_step for step in state.skipped_steps)
    if num_skipped < state.best_step and math.isfinite(state.best_error):
        return
    finding = (
        f"all {num_skipped} steps up to the smallest error on the valid split were skipped, because their "
        "gradients are not finite"
        if num_skipped == state.best_step
        else f"no rollout error on the valid split is finite in {state.step} steps"
    )
    raise UserError(
        f"{finding}. Only trained weights with a finite error are saved. Type overwrite=true and a value "
        f"below training.learning_rate={training.learning_rate:g}, training.noise={training.noise:g} or "
        f"training.unroll={training.unroll}"
    )


def report_complete(folder: Path, ranks: Ranks) -> RecordEntries:
    """Print that the model is complete, and return the entry for the run record."""
    if ranks.is_first:
        print(f"{folder} holds the trained model of this configuration already", flush=True)
    return {"skipped": True}


def draw_curves(folder: Path) -> None:
    """Write `curves.png`, the losses and errors of log.csv over the steps."""
    # Imported here because matplotlib takes as long to import as a small model to train.
    from pipeline.plots.curves import draw_training, read_log

    figure_bytes = io.BytesIO()
    draw_training(read_log(folder / "log.csv")).savefig(figure_bytes, format="png", dpi=150)
    write_whole(folder / "curves.png", figure_bytes.getvalue())
