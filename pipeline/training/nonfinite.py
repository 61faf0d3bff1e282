"""The error of a run with too many gradients that are not finite: it names the windows that cause them."""

from __future__ import annotations

import numpy as np

from pipeline.config.settings import Training
from pipeline.data.dataset import Dataset
from pipeline.training.batches.augment import with_random
from pipeline.training.batches.loader import DeviceLoader
from pipeline.training.step import loss_of
from simsurrogate.errors import UserError
from surrogates.contract import Surrogate

_MAX_NAMED = 8


def too_many_skipped(
    surrogate: Surrogate,
    *,
    dataset: Dataset,
    loader: DeviceLoader,
    batch: np.ndarray,
    skipped: list[int],
    norm: float,
    options: Training,
    seed: int,
) -> UserError:
    """Return the error that ends a run whose last skipped step had the global batch `batch`.

    The message names the windows whose own loss is not finite; if all losses are finite, it names the whole
    batch.
    """
    # With gradients, because a loss may differentiate inside; a single window needs little memory.
    is_finite = []
    for place in range(len(batch)):
        window = loader.take(batch[[place]])
        places = np.array([place])
        window = with_random(window, surrogate.num_random, seed=seed, step=skipped[-1] - 1, places=places)
        is_finite.append(bool(loss_of(surrogate, window, options).isfinite()))
    guilty = batch[~np.array(is_finite)]
    windows = guilty if len(guilty) else batch
    names = [_name(dataset, loader, window) for window in windows[:_MAX_NAMED]]
    more = f" and {len(windows) - len(names)} more" if len(windows) > len(names) else ""
    before = f", after it was not finite at {', '.join(map(str, skipped[:-1]))}" if len(skipped) > 1 else ""
    return UserError(
        f"the gradient's norm is {norm} at step {skipped[-1]}{before}. At most "
        f"training.max_skipped_steps={options.max_skipped_steps} steps may be skipped. "
        f"{'Windows whose loss is not finite' if len(guilty) else 'Windows of the batch'}: "
        f"{'; '.join(names)}{more}. Check these data, or lower training.learning_rate="
        f"{options.learning_rate:g} or training.unroll={options.unroll}"
    )


def _name(dataset: Dataset, loader: DeviceLoader, window: int) -> str:
    """Return the name of a window: its trajectory and frames."""
    trajectories, starts = loader.locate(np.array([window]))
    index = dataset.trajectory("train", int(trajectories[0])).index
    return f"trajectory {index}, frames {starts[0]} to {starts[0] + loader.length - 1}"
