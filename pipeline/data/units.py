"""Units by the package pint: their check, and the conversion of times to seconds."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pint

#: No unit is longer. Units may come from files of other people.
_MAX_LENGTH = 60

#: A power of a number, of a bracket or of a power: pint computes it, however large. A unit has none.
_POWER_OF_A_NUMBER = re.compile(r"[\d).]\s*(?:\*\*|\^|[⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹])")


#: Products and quotients of powers of common symbols. Their check needs no registry, whose import is slow.
_SYMBOL = r"(?:[kMGmun]?(?:m|s|K|J|N|W|Pa|V|Hz)|kg|A|mol|rad)"
_COMMON_UNIT = re.compile(rf"1|(?:1/)?{_SYMBOL}(?:\^-?\d)?(?:[ /]{_SYMBOL}(?:\^-?\d)?)*")


def is_known(unit: str) -> bool:
    """Return whether a unit is a product of common symbols or pint knows it; `1` means no unit."""
    return _COMMON_UNIT.fullmatch(unit) is not None or _parsed(unit) is not None


def seconds(unit: str) -> float | None:
    """Return the seconds of a unit of time; 1 for times without a unit, None for other units."""
    parsed = _parsed(unit)
    if parsed is None:
        return None
    quantity = _registry().Quantity(1.0, parsed)
    if quantity.check("[time]"):
        return float(quantity.to("s").magnitude)
    return 1.0 if quantity.dimensionless else None


def conversion(unit: str, target: str) -> tuple[float, float] | None:
    """Return the factor and the offset that convert values of a unit; None if the units measure other things.

    value in the target's unit = factor * value + offset
    """
    if unit == target:
        return 1.0, 0.0
    parsed, parsed_target = _parsed(unit), _parsed(target)
    if parsed is None or parsed_target is None:
        return None
    quantity = _registry().Quantity
    try:
        zero, one = (float(quantity(value, parsed).to(parsed_target).magnitude) for value in (0.0, 1.0))
    # pint reports units that do not fit by exceptions of several types.
    except Exception:
        return None
    return one - zero, zero


def _parsed(unit: str) -> Any:
    text = unit.strip()
    if not text or len(text) > _MAX_LENGTH or not text.isprintable() or _POWER_OF_A_NUMBER.search(text):
        return None
    if text == "1":
        text = "dimensionless"
    try:
        return _registry().parse_units(text)
    # pint reports a wrong unit by exceptions of many types.
    except Exception:
        return None


@cache
def _registry() -> pint.UnitRegistry:
    import pint

    registry: pint.UnitRegistry = pint.UnitRegistry()
    return registry
