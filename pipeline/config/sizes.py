"""The refusal of data sets, networks and batches that need more disk or memory than is free.

All sizes are lower bounds that follow from the options alone. A stage checks its own part before it allocates
anything, and a chain on this machine checks all parts before its first stage.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config.settings import Evaluation, Settings, Training
from pipeline.data.format.layout import bytes_of_fields
from pipeline.data.plan import MAX_SHARDS, SPLITS, num_shards
from simsurrogate.errors import UserError
from simsurrogate.memory import require_memory, size_text
from simsurrogate.spec import Spec

if TYPE_CHECKING:
    from surrogates.contract import Surrogate

#: The arrays of the size of the weights: weights, gradients, two moments of AdamW, and the best weights.
_NUM_WEIGHT_ARRAYS = 5
#: The arrays of the size of a batch of trajectories: the truth, and the rollouts and the single steps of the
#: surrogate and of two fitted baselines.
_NUM_EVALUATION_ARRAYS = 7


def check_data_set(settings: Settings, spec: Spec) -> None:
    """Check that a data set has not too many shards and fits on the disk.

    Raises:
        UserError: the data set is too large; the message names its size and the free space.
    """
    samples, num_frames = settings.samples.model_dump(), settings.output.steps + 1
    planned = num_shards(samples)
    if planned > MAX_SHARDS:
        raise UserError(
            f"samples.per_shard={samples['per_shard']} divides the trajectories into {planned} shards. A "
            f"data set has at most {MAX_SHARDS} shards. Type a larger samples.per_shard or fewer samples"
        )
    num_trajectories = sum(samples[split] for split in SPLITS)
    needed = num_trajectories * bytes_of_fields(spec, num_frames, settings.storage.precision)
    folder = _existing_folder(settings.dataset)
    free = shutil.disk_usage(folder).free
    if needed > free and needed > free + _bytes_of_shards(settings.dataset):
        raise UserError(
            f"{num_trajectories} trajectories of {num_frames} frames on {math.prod(spec.shape)} sites take "
            f"at least {size_text(needed)} on disk. {size_text(free)} are free in {folder}. Type fewer "
            "samples.train, a smaller output.steps, or dataset=FOLDER on another disk"
        )


def check_generation(settings: Settings, spec: Spec, *, is_batched: bool, num_states: float) -> None:
    """Check that states fit into memory.

    Args:
        settings: the settings.
        spec: the spec of the solver.
        is_batched: whether a rank computes whole trajectories at once.
        num_states: the number of states that the caller holds at once. A rank of a group of several ranks
            holds a fraction of one state, and a chain holds one state for each of its groups.

    Raises:
        UserError: less memory is free.
    """
    num_frames = settings.output.steps + 1
    frames_at_once = num_frames if is_batched else 1
    state_bytes = bytes_of_fields(spec, frames_at_once, "float64")
    text = f"{frames_at_once} frames" if is_batched else "a state"
    require_memory(
        math.ceil(num_states * state_bytes) + num_frames * np.dtype(float).itemsize,
        f"generate with {text} on {math.prod(spec.shape)} sites, and {num_frames} times,",
        "a coarser solver.resolution, a smaller output.steps, or a larger group_size on more nodes",
    )


def check_training(training: Training, surrogate: Surrogate, *, num_ranks: int, num_windows: int) -> None:
    """Check that the weights, and the windows of a micro-batch on a processor, fit into memory.

    Args:
        training: the section `training`.
        surrogate: the surrogate, possibly without values, see `surrogates.weights`.
        num_ranks: the number of ranks that share the memory.
        num_windows: the number of windows of their micro-batches.

    Raises:
        UserError: less memory is free.
    """
    import torch

    from surrogates.weights import num_weights

    itemsize = 8 if training.precision == "float64" else 4
    count = num_weights(surrogate)
    require_memory(
        num_ranks * _NUM_WEIGHT_ARRAYS * itemsize * count,
        f"the training of {count} weights on {num_ranks} {'rank' if num_ranks == 1 else 'ranks'}, "
        f"{_NUM_WEIGHT_ARRAYS} numbers of {itemsize} bytes for each weight,",
        "smaller options of surrogate, such as surrogate.width",
    )
    if training.device != "cpu" and torch.cuda.is_available():
        return
    spec = surrogate.problem.spec
    precision = "float64" if itemsize == 8 else "float32"
    window_bytes = bytes_of_fields(spec, training.unroll + 1, precision) + itemsize * surrogate.num_random
    require_memory(
        num_windows * window_bytes,
        f"a batch of {num_windows} windows of {training.unroll + 1} frames on {math.prod(spec.shape)} sites",
        "a smaller training.batch_size or training.unroll, or a larger training.gradient_accumulation_steps",
    )


def check_evaluation(
    evaluation: Evaluation, spec: Spec, num_frames: int, num_trajectories: int, precision: str
) -> None:
    """Check that a batch of trajectories and their predictions fit into memory.

    Raises:
        UserError: less memory is free.
    """
    count = min(evaluation.batch_size, num_trajectories)
    require_memory(
        _NUM_EVALUATION_ARRAYS * count * bytes_of_fields(spec, num_frames, precision),
        f"the evaluation of {count} trajectories of {num_frames} frames at once",
        "a smaller evaluation.batch_size",
    )


def _existing_folder(folder: Path) -> Path:
    """Return the folder, or the nearest folder above that exists."""
    absolute = folder.absolute()
    return next(parent for parent in (absolute, *absolute.parents) if parent.is_dir())


def _bytes_of_shards(dataset: Path) -> int:
    """Return the bytes of the shards that exist already, which the data set keeps or replaces."""
    return sum(path.stat().st_size for path in dataset.glob("data/*/*.hdf5") if path.is_file())
