"""Random scalar parameters of a trajectory, inside or outside their ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import Parameter


def draw(parameters: Iterable[Parameter], rng: np.random.Generator, outside: bool) -> dict[str, float]:
    """Draw one number for each parameter, uniform in the range.

    With `outside` the number is below or above the range with equal probability. The distance to the range is
    5 to 100 % of the width of the range (at least a tenth of `high`). Below a range of positive numbers the
    distance is at most half of `low`, and the number stays positive.
    """
    return {parameter.name: _draw(parameter, rng, outside) for parameter in parameters}


def check_ranges(**groups: Any) -> None:
    """Check that the lower end of each range comes first.

    Args:
        groups: the options by name; each is a range (low, high), or a dataclass with ranges.

    Raises:
        UserError: a range is in the wrong order; the message names the option.
    """
    for group, options in groups.items():
        values = {group: options} if isinstance(options, tuple) else _fields(group, options)
        for option, value in values.items():
            if isinstance(value, tuple) and value[0] > value[1]:
                low, high = value
                raise UserError(
                    f"solver.{option}=[{low:g}, {high:g}] is not a range. The lower end must come first. "
                    f"Type solver.{option}=[{high:g},{low:g}]"
                )


def _fields(group: str, options: Any) -> dict[str, object]:
    """Return the values of a dataclass by `group.field`."""
    return {f"{group}.{field.name}": getattr(options, field.name) for field in dataclasses.fields(options)}


def _draw(parameter: Parameter, rng: np.random.Generator, outside: bool) -> float:
    low, high = parameter.low, parameter.high
    if not outside:
        return float(rng.uniform(low, high))
    width_above = max(high - low, abs(high) / 10) or 1.0
    width_below = min(width_above, low / 2) if low >= 0 else width_above
    distance = rng.uniform(0.05, 1.0)
    if rng.random() < 0.5 and width_below > 0:
        return float(low - width_below * distance)
    return float(high + width_above * distance)
