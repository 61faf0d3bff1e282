"""Random scalar parameters of a trajectory, inside or outside their ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import Parameter


def draw(parameters: Sequence[Parameter], rng: np.random.Generator, outside: bool) -> dict[str, float]:
    """Draw one number for each parameter, uniform in the range.

    With `outside`, either one of the parameters is outside its range, or all parameters are; each of these
    cases has the same probability. Such a number is below or above the range with equal probability, and
    above a range that starts at 0. The distance to the range is 5 to 100 % of the width of the range (at
    least a tenth of `high`). Below a range of positive numbers the distance is at most half of `low`, and the
    number stays positive.

    Raises:
        UserError: with `outside`, there are no parameters.
    """
    names = _names_outside(parameters, rng) if outside else ()
    return {
        parameter.name: (_draw_outside if parameter.name in names else _draw_inside)(parameter, rng)
        for parameter in parameters
    }


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


def _names_outside(parameters: Sequence[Parameter], rng: np.random.Generator) -> tuple[str, ...]:
    """Draw the parameters that lie outside their ranges: one of them, or all."""
    if not parameters:
        raise UserError(
            "the solver has no scalar parameters, so no trajectory lies outside the training range. "
            "samples.test_extrapolation must be 0. Type samples.test_extrapolation=0"
        )
    names = tuple(parameter.name for parameter in parameters)
    cases = [(name,) for name in names] + ([names] if len(names) > 1 else [])
    return cases[rng.integers(len(cases))]


def _draw_inside(parameter: Parameter, rng: np.random.Generator) -> float:
    return float(rng.uniform(parameter.low, parameter.high))


def _draw_outside(parameter: Parameter, rng: np.random.Generator) -> float:
    low, high = parameter.low, parameter.high
    width_above = max(high - low, abs(high) / 10) or 1.0
    width_below = min(width_above, low / 2) if low >= 0 else width_above
    distance = rng.uniform(0.05, 1.0)
    if rng.random() < 0.5 and width_below > 0:
        return float(low - width_below * distance)
    return float(high + width_above * distance)
