"""The number of measured trajectories that simulated data save, on curves with known crossings."""

from __future__ import annotations

import pytest

from benchmarks.support.hybrid_page import equal_error_count

COUNTS = (2, 4, 8, 16)


@pytest.mark.parametrize(
    ("error", "count"),
    [(0.8, 2.0), (0.2, 8.0), (0.2 * 2**-0.5, 8.0 * 2**0.5), (1.5, 2.0), (0.1, 16.0)],
)
def test_errors_that_are_inversely_proportional_to_the_number(error: float, count: float) -> None:
    assert equal_error_count(COUNTS, [1.6 / number for number in COUNTS], error) == pytest.approx(count)


def test_an_error_that_no_number_reaches() -> None:
    assert equal_error_count(COUNTS, [0.8, 0.4, 0.2, 0.1], 0.09) is None


def test_a_rising_error_does_not_count() -> None:
    """The error 0.3 at 8 trajectories is above that of 4, so 4 trajectories reach 0.25."""
    assert equal_error_count(COUNTS, [0.5, 0.25, 0.3, 0.125], 0.25) == pytest.approx(4.0, rel=1e-6)
