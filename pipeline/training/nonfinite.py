"""Which windows are to blame for a gradient that is not finite."""

from __future__ import annotations

import numpy as np

from pipeline.config.settings import Training
from pipeline.data.dataset import Dataset
from pipeline.training.batches.augment import with_random
from pipeline.training.batches.loader import Reader
from pipeline.training.step import loss_of
from simsurrogate.errors import UserError
from surrogates.contract import Surrogate

_MOST_NAMED = 8


def too_many_skipped(
    surrogate: Surrogate,
    *,
    dataset: Dataset,
    reader: Reader,
    batch: np.ndarray,
    skipped: list[int],
    norm: float,
    options: Training,
    seed: int,
) -> ValueError:
    """The error that ends a run whose last step of `skipped` had the windows `batch`, of all ranks.

    It names those whose own loss is not finite; where there are none, all of them.
    """
    # With gradients, which a loss may need inside: one window at a time takes little memory.
    finite = []
    for place in range(len(batch)):
        window = reader.take(batch[[place]])
        places = np.array([place])
        drawn = with_random(window, surrogate.num_random, seed=seed, step=skipped[-1] - 1, places=places)
        finite.append(bool(loss_of(surrogate, drawn, options).isfinite()))
    guilty = batch[~np.array(finite)]
    named = guilty if len(guilty) else batch
    said = [_name(dataset, reader, window) for window in named[:_MOST_NAMED]]
    more = f" and {len(named) - len(said)} more" if len(named) > len(said) else ""
    before = f", after it was not finite at {', '.join(map(str, skipped[:-1]))}" if len(skipped) > 1 else ""
    return UserError(
        f"the gradient's norm is {norm} at step {skipped[-1]}{before}: more than "
        f"training.max_skipped_steps={options.max_skipped_steps} steps were to be skipped. "
        f"{'Windows whose loss is not finite' if len(guilty) else 'Windows of the batch'}: "
        f"{'; '.join(said)}{more}. Look at these data, or lower training.learning_rate="
        f"{options.learning_rate:g} or training.unroll={options.unroll}"
    )


def _name(dataset: Dataset, reader: Reader, window: int) -> str:
    number, start = reader.places(np.array([window]))
    index = dataset.trajectory("train", int(number[0])).index
    return f"trajectory {index}, frames {start[0]} to {start[0] + reader.length - 1}"
