"""Drawing the scalar parameters of a trajectory, inside or outside their ranges."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from simsurrogate.spec import Parameter


def draw(parameters: Iterable[Parameter], rng: np.random.Generator, outside: bool) -> dict[str, float]:
    """One number for each parameter, uniform in its range.

    With `outside` it lies beyond either end of the range with equal chance, by 5 to 100 % of the width
    of the range (at least a tenth of `high`); a range of positive numbers is left downwards by half of
    `low` at most, so that the sign stays.
    """
    return {parameter.name: _draw(parameter, rng, outside) for parameter in parameters}


def _draw(parameter: Parameter, rng: np.random.Generator, outside: bool) -> float:
    low, high = parameter.low, parameter.high
    if not outside:
        return float(rng.uniform(low, high))
    width = max(high - low, abs(high) / 10) or 1.0
    below = min(width, low / 2) if low >= 0 else width
    distance = rng.uniform(0.05, 1.0)
    if rng.random() < 0.5 and below > 0:
        return float(low - below * distance)
    return float(high + width * distance)
