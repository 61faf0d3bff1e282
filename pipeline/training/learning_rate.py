"""The learning rate of a step: a function of the step alone, so that nothing of it need be kept."""

from __future__ import annotations

import math
from collections.abc import Callable

from pipeline.config.settings import Training

#: The factor on the learning rate, at a share 0 to 1 of the steps after the warm-up.
_SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}


def learning_rate(step: int, options: Training) -> float:
    """A linear warm-up, then what `training.schedule` names; cosine and linear end at zero.

    Source of the cosine: Loshchilov & Hutter 2017, "SGDR" (arXiv 1608.03983), eq. 5 without restarts.
    """
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(1, options.steps - options.warmup_steps)
    return options.learning_rate * _SHAPES[options.schedule](done)
