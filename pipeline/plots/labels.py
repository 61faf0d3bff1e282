"""Names, units and times as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

#: Larger numbers are written with a power of ten.
_LARGEST_PLAIN = 1e5
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def unit_words(unit: str) -> str:
    """Return a unit with superscripts, `m²/s` for `m^2/s`; an empty text if the unit is 1."""
    if unit == "1":
        return ""
    return re.sub(r"(?:\^|\*\*)\(?(-?\d+)\)?", lambda power: superscript(power[1]), unit)


def superscript(exponent: int | str) -> str:
    """Return an exponent in raised digits."""
    return str(exponent).translate(_SUPERSCRIPTS)


def label(name: str, unit: str) -> str:
    """Return `name (unit)`, or `name` alone if the unit is 1."""
    text = name.replace("_", " ")
    return f"{text} ({unit_words(unit)})" if unit_words(unit) else text


def rounded_text(value: float) -> str:
    """Return a number with three figures; powers of ten as people write them, `2.5·10⁻⁵`."""
    if 1000 <= abs(value) < _LARGEST_PLAIN:
        return f"{value:.0f}".replace("-", "\N{MINUS SIGN}")
    mantissa, exponent_mark, exponent = f"{value:.3g}".partition("e")
    mantissa = mantissa.replace("-", "\N{MINUS SIGN}")
    if not exponent_mark:
        return mantissa
    power = superscript(int(exponent))
    return f"10{power}" if mantissa == "1" else f"{mantissa}·10{power}"


def even_frames(num_frames: int, max_count: int) -> list[int]:
    """Return up to `max_count` evenly spaced frames after the first frame; the last frame is one of them.

    A spacing that starts at the first frame is preferred, so that the times are round: 2, 4, 6, 8, 10 of 11
    frames.
    """
    last = num_frames - 1
    smallest_spacing = max(1, -(-last // max_count))
    even_spacings = [
        spacing
        for spacing in range(smallest_spacing, 2 * smallest_spacing + 1)
        if last % spacing == 0 and spacing < last
    ]
    spacing = next(iter(even_spacings), smallest_spacing)
    return list(range(last, 0, -spacing))[::-1]


def time_texts(times: Sequence[float]) -> list[str]:
    """Return `t = 0.2 s` for each time."""
    return [f"t = {rounded_text(float(np.round(time, 12)))} s" for time in times]
