"""Means and variances of data in several parts, the same for every division into parts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict  # pydantic refuses typing.TypedDict before Python 3.12

from simsurrogate.errors import UserError

#: An exact rational number as `numerator/denominator`. The length is bounded because numbers come from files.
ExactNumber = Annotated[str, Field(pattern=r"^-?[0-9]+(/[1-9][0-9]*)?$", max_length=3000)]

#: Every finite float64 is a multiple of 2^-1074.
_SCALE_BITS = 1074


class PlainStatistics(TypedDict):
    """Running statistics in the form of a receipt: numbers, texts and lists."""

    count: int
    sum: list[ExactNumber]
    sum_of_squares: list[ExactNumber]
    minimum: list[float]
    maximum: list[float]


@dataclass(frozen=True)
class RunningStatistics:
    """Count, sum, sum of squares, minimum and maximum, one value for each channel (C,).

    The sums are exact rational numbers. Their addition has no rounding error and no order, so the statistics
    of a split do not depend on its division into shards. The variance of equal values is exactly 0.
    """

    count: int
    sum: tuple[Fraction, ...]
    sum_of_squares: tuple[Fraction, ...]
    minimum: np.ndarray
    maximum: np.ndarray

    @classmethod
    def empty(cls, num_channels: int) -> RunningStatistics:
        """Return the statistics of no values."""
        zeros = (Fraction(0),) * num_channels
        return cls(0, zeros, zeros, np.full(num_channels, np.inf), np.full(num_channels, -np.inf))

    @classmethod
    def of(cls, values: np.ndarray) -> RunningStatistics:
        """Return the statistics of `values` (C, ...) over all but the first axis."""
        return cls.of_trajectories(values[:, None])

    @classmethod
    def of_trajectories(cls, values: np.ndarray) -> RunningStatistics:
        """Return the statistics of `values` (C, N, ...) over all but the first axis.

        Each of the N trajectories has a mean, and sums of deviations and of squared deviations, in float64.
        The sums over the trajectories are exact, so the division of trajectories into batches has no
        influence.

        Raises:
            UserError: the square of a value exceeds the range of float64.
        """
        if values.size == 0:
            return cls.empty(len(values))
        flat_values = values.reshape(*values.shape[:2], math.prod(values.shape[2:])).astype(np.float64)
        minimum, maximum = flat_values.min(axis=2), flat_values.max(axis=2)
        with np.errstate(over="ignore", invalid="ignore"):
            # The rounded mean of equal values may differ from the values.
            mean = flat_values.mean(axis=2).clip(minimum, maximum)
            flat_values -= mean[..., None]
            deviation = flat_values.sum(axis=2)
            squared_deviation = np.square(flat_values, out=flat_values).sum(axis=2)
        if not np.isfinite(squared_deviation).all():
            raise UserError(
                f"the values reach {np.abs([minimum, maximum]).max():g}, and their squares exceed the range "
                "of float64. Statistics need values below 1e150. Choose other units for the solver"
            )
        num_values = flat_values.shape[2]
        sums = [
            _exact_sums(num_values, *channel)
            for channel in zip(mean.tolist(), deviation.tolist(), squared_deviation.tolist(), strict=True)
        ]
        return cls(
            num_values * values.shape[1],
            tuple(total for total, _ in sums),
            tuple(squares for _, squares in sums),
            minimum.min(axis=1),
            maximum.max(axis=1),
        )

    def __add__(self, other: RunningStatistics) -> RunningStatistics:
        return RunningStatistics(
            self.count + other.count,
            _added(self.sum, other.sum),
            _added(self.sum_of_squares, other.sum_of_squares),
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )

    @property
    def mean(self) -> np.ndarray:
        """The mean."""
        return _as_floats(total / max(self.count, 1) for total in self.sum)

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of the whole population."""
        count = max(self.count, 1)
        pairs = zip(self.sum, self.sum_of_squares, strict=True)
        variances = (squares / count - (total / count) ** 2 for total, squares in pairs)
        # The sums of a forged receipt may give a negative variance.
        return np.asarray(np.sqrt(_as_floats(max(variance, Fraction(0)) for variance in variances)))

    @property
    def rms(self) -> np.ndarray:
        """The root mean square."""
        squares = _as_floats(squares / max(self.count, 1) for squares in self.sum_of_squares)
        return np.asarray(np.sqrt(squares))

    @property
    def size(self) -> np.ndarray:
        """The largest absolute value."""
        return np.asarray(np.maximum(np.abs(self.minimum), np.abs(self.maximum)))

    def to_json(self) -> PlainStatistics:
        """Return plain numbers, texts and lists; all values survive a round trip exactly."""
        return {
            "count": self.count,
            "sum": [str(total) for total in self.sum],
            "sum_of_squares": [str(squares) for squares in self.sum_of_squares],
            "minimum": self.minimum.tolist(),
            "maximum": self.maximum.tolist(),
        }

    @classmethod
    def from_json(cls, numbers: PlainStatistics) -> RunningStatistics:
        """Return the statistics that `to_json` wrote."""
        return cls(
            numbers["count"],
            tuple(map(Fraction, numbers["sum"])),
            tuple(map(Fraction, numbers["sum_of_squares"])),
            np.array(numbers["minimum"], dtype=np.float64),
            np.array(numbers["maximum"], dtype=np.float64),
        )


def _exact_sums(
    num_values: int, means: list[float], deviations: list[float], squared_deviations: list[float]
) -> tuple[Fraction, Fraction]:
    """Return the sum and the sum of squares of all trajectories of one channel.

    With the deviations d = u - m from the rounded mean m of n values u of a trajectory

        Σ u = n m + Σ d,    Σ u² = n m² + 2 m Σ d + Σ d²
    """
    total = squares = 0
    for mean, deviation, squared_deviation in zip(
        map(_scaled, means), map(_scaled, deviations), map(_scaled, squared_deviations), strict=True
    ):
        total += num_values * mean + deviation
        squares += mean * (num_values * mean + 2 * deviation) + (squared_deviation << _SCALE_BITS)
    return Fraction(total, 2**_SCALE_BITS), Fraction(squares, 2 ** (2 * _SCALE_BITS))


def _scaled(value: float) -> int:
    """Return a finite float64 as an integer multiple of 2^-1074."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_SCALE_BITS + 1 - denominator.bit_length())


def _added(totals: Iterable[Fraction], addends: Iterable[Fraction]) -> tuple[Fraction, ...]:
    return tuple(total + addend for total, addend in zip(totals, addends, strict=True))


def _as_floats(values: Iterable[Fraction]) -> np.ndarray:
    return np.array([float(value) for value in values], np.float64)
