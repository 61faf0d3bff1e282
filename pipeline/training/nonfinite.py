"""The error of a run with too many gradients that are not finite: it names the windows that cause them."""

from __future__ import annotations

import numpy as np

from pipeline.config.settings import Training
from pipeline.data.dataset import Dataset
from pipeline.training.batches.augment import with_random
from pipeline.training.batches.loader import Loader
from pipeline.training.batches.value_weights import ValueWeights
from pipeline.training.step import loss_of
from simsurrogate.errors import UserError
from surrogates.contract import Surrogate

_MAX_NAMED_WINDOWS = 8


def too_many_skipped(
    surrogate: Surrogate,
    *,
    dataset: Dataset,
    loader: Loader,
    value_weights: ValueWeights | None,
    batch: np.ndarray,
    skipped_steps: list[int],
    norm: float,
    options: Training,
    seed: int,
) -> UserError:
    """Return the error that ends a run after too many skipped steps, the last of them on `batch`.

    The message names the windows whose own loss is not finite, or all windows if each loss is finite.
    """
    # Gradients stay enabled, because a loss may differentiate; a single window needs little memory.
    is_finite = []
    for position in range(len(batch)):
        window = loader.take(batch[[position]])
        if value_weights is not None:
            window = value_weights(window, batch[[position]])
        positions = np.array([position])
        window = with_random(
            window, surrogate.num_random, seed=seed, step=skipped_steps[-1] - 1, positions=positions
        )
        is_finite.append(bool(loss_of(surrogate, window, options).isfinite()))
    nonfinite_windows = batch[~np.array(is_finite)]
    windows = nonfinite_windows if len(nonfinite_windows) else batch
    names = [_window_name(dataset, loader, window) for window in windows[:_MAX_NAMED_WINDOWS]]
    remainder_text = f" and {len(windows) - len(names)} more" if len(windows) > len(names) else ""
    earlier_text = (
        f", after it was not finite at {', '.join(map(str, skipped_steps[:-1]))}"
        if len(skipped_steps) > 1
        else ""
    )
    return UserError(
        f"the gradient's norm is {norm} at step {skipped_steps[-1]}{earlier_text}. At most "
        f"training.max_skipped_steps={options.max_skipped_steps} steps may be skipped. "
        f"{'Windows whose loss is not finite' if len(nonfinite_windows) else 'Windows of the batch'}: "
        f"{'; '.join(names)}{remainder_text}. Check these data, or lower training.learning_rate="
        f"{options.learning_rate:g} or training.unroll={options.unroll}"
    )


def _window_name(dataset: Dataset, loader: Loader, window: int) -> str:
    """Return the name of a window: its trajectory and frames."""
    trajectories, starts = loader.locate(np.array([window]))
    index = dataset.trajectory("train", int(trajectories[0])).index
    return f"trajectory {index}, frames {starts[0]} to {starts[0] + loader.length - 1}"
