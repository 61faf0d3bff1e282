"""The learning rate as a function of the step alone; a checkpoint needs no state of a scheduler."""

from __future__ import annotations

import math
from collections.abc import Callable

from pipeline.config.settings import Training

#: The factor on the learning rate, by the fraction (0 to 1) of the steps after the warm-up.
_SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda fraction: 0.5 * (1 + math.cos(math.pi * fraction)),
    "linear": lambda fraction: 1 - fraction,
    "constant": lambda fraction: 1.0,
}


def learning_rate(step: int, options: Training) -> float:
    """Return the learning rate of a step: a linear warm-up, then `training.schedule`.

    The cosine and the linear schedule end at zero.

    Source of the cosine: Loshchilov & Hutter 2017, "SGDR" (arXiv 1608.03983), eq. 5 without restarts.
    """
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    fraction = (step - options.warmup_steps) / max(1, options.steps - options.warmup_steps)
    return options.learning_rate * _SCHEDULES[options.schedule](fraction)
