"""The comparison of numbers that files store in float32."""

from __future__ import annotations

#: The largest relative difference of equal numbers: eight times the round-off of float32.
_ROUND_OFF = 1e-6


def are_equal(first: object, second: object) -> bool:
    """Return whether values are equal, and numbers up to the round-off of coordinates in float32."""
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(are_equal, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return abs(first - second) <= _ROUND_OFF * max(abs(first), abs(second))
    return first == second
