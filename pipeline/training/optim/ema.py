"""The exponential moving average of the weights, which fluctuates less than the weights themselves."""

from __future__ import annotations

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from surrogates.contract import Surrogate

_Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


def moving_average(surrogate: Surrogate, decay: float) -> AveragedModel | None:
    """Return a copy of the surrogate whose weights average those of the surrogate, or None for a decay of 0.

        w̄ ← d w̄ + (1 - d) w,    d = min(decay, (1 + n) / (10 + n)) at update n

    The decay d grows with n, so that the average of a short run forgets the weights of the first steps.

    Source: Polyak & Juditsky 1992; the growing decay is that of TensorFlow's ExponentialMovingAverage.
    """
    if decay == 0:
        return None

    def update(averages: _Tensors, weights: _Tensors, count: torch.Tensor | int) -> None:
        num_updates = int(count)
        current_decay = min(decay, (1 + num_updates) / (10 + num_updates))
        get_ema_multi_avg_fn(current_decay)(averages, weights, count)  # type: ignore[no-untyped-call]

    return AveragedModel(surrogate, multi_avg_fn=update)
