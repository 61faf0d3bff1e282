"""Scalar parameters of a trajectory, drawn inside or outside their ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import Parameter


def draw(parameters: Iterable[Parameter], rng: np.random.Generator, outside: bool) -> dict[str, float]:
    """Return one number for each parameter, uniform in its range.

    With `outside` the number lies below or above the range with equal chance, by 5 to 100 % of the width of
    the range (at least a tenth of `high`). Below a range of positive numbers the distance is at most half of
    `low`, so that the sign is kept.
    """
    return {parameter.name: _draw(parameter, rng, outside) for parameter in parameters}


def check_ranges(**groups: Any) -> None:
    """Check that the lower end of each range comes first.

    Args:
        groups: the options by their name: a range (low, high), or a dataclass that has ranges.

    Raises:
        UserError: a range has its ends in the wrong order; the message names the option.
    """
    for group, options in groups.items():
        values = {group: options} if isinstance(options, tuple) else _fields(group, options)
        for option, value in values.items():
            if isinstance(value, tuple) and value[0] > value[1]:
                low, high = value
                raise UserError(
                    f"solver.{option}=[{low:g}, {high:g}] is not a range. The lower end comes first. "
                    f"Type solver.{option}=[{high:g},{low:g}]"
                )


def _fields(group: str, options: Any) -> dict[str, object]:
    """Return the values of a dataclass by `group.field`."""
    return {f"{group}.{field.name}": getattr(options, field.name) for field in dataclasses.fields(options)}


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
