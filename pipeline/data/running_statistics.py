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
_LARGEST = float(np.finfo(np.float64).max)


class PlainStatistics(TypedDict):
    """Running statistics in the form of a receipt: numbers, texts and lists.

    `count` is a list if the channels have different counts, because of gaps.
    """

    count: int | list[int]
    sum: list[ExactNumber]
    sum_of_squares: list[ExactNumber]
    minimum: list[float]
    maximum: list[float]


@dataclass(frozen=True)
class RunningStatistics:
    """Count, sum, sum of squares, minimum and maximum, one value for each channel (C,).

    The sums are exact rational numbers. Their addition has no rounding error and no order, so the statistics
    of a split do not depend on its division into shards. The variance of equal values is exactly 0.

    NaN is a missing value and has no influence. `count` is one number if all channels have as many values.
    """

    count: int | tuple[int, ...]
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
        if np.isnan(squared_deviation).any() and np.isnan(values).any():
            return cls._of_incomplete(values)
        if not np.isfinite(squared_deviation).all():
            raise UserError(
                f"the values reach {np.abs([minimum, maximum]).max():g}, and their squares exceed the range "
                "of float64. Statistics need values below 1e150. Choose other units for the solver"
            )
        counts = np.full(mean.shape, flat_values.shape[2])
        return cls._of_sums((counts, mean, deviation, squared_deviation), minimum, maximum)

    @classmethod
    def _of_incomplete(cls, values: np.ndarray) -> RunningStatistics:
        """Return the statistics of the values (C, N, ...) that are not NaN."""
        flat_values = values.reshape(*values.shape[:2], math.prod(values.shape[2:])).astype(np.float64)
        is_missing = np.isnan(flat_values)
        counts = (~is_missing).sum(axis=2)
        minimum = np.where(is_missing, np.inf, flat_values).min(axis=2)
        maximum = np.where(is_missing, -np.inf, flat_values).max(axis=2)
        total = np.where(is_missing, 0.0, flat_values).sum(axis=2)
        mean = np.where(counts, (total / np.maximum(counts, 1)).clip(minimum, maximum), 0.0)
        deviations = np.where(is_missing, 0.0, flat_values - mean[..., None])
        squares = np.square(deviations).sum(axis=2)
        return cls._of_sums((counts, mean, deviations.sum(axis=2), squares), minimum, maximum)

    @classmethod
    def _of_sums(
        cls, columns: tuple[np.ndarray, ...], minimum: np.ndarray, maximum: np.ndarray
    ) -> RunningStatistics:
        """Return the statistics of numbers for each channel and trajectory (C, N).

        `columns` are the counts, the means, and the sums of deviations and of squared deviations.
        """
        sums = [
            _exact_sums(*channel) for channel in zip(*(column.tolist() for column in columns), strict=True)
        ]
        return cls(
            _as_count(columns[0].sum(axis=1).tolist()),
            tuple(total for total, _ in sums),
            tuple(squares for _, squares in sums),
            minimum.min(axis=1),
            maximum.max(axis=1),
        )

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of values of each channel (C,)."""
        return self.count if isinstance(self.count, tuple) else (self.count,) * len(self.sum)

    def __add__(self, other: RunningStatistics) -> RunningStatistics:
        if isinstance(self.count, int) and isinstance(other.count, int):
            count: int | tuple[int, ...] = self.count + other.count
        else:
            count = _as_count(
                [first + second for first, second in zip(self.counts, other.counts, strict=True)]
            )
        return RunningStatistics(
            count,
            _added(self.sum, other.sum),
            _added(self.sum_of_squares, other.sum_of_squares),
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )

    @property
    def mean(self) -> np.ndarray:
        """The mean; 0 without values."""
        return _as_floats(total / max(count, 1) for total, count in zip(self.sum, self.counts, strict=True))

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of the whole population."""
        columns = zip(self.sum, self.sum_of_squares, self.counts, strict=True)
        variances = (
            squares / max(count, 1) - (total / max(count, 1)) ** 2 for total, squares, count in columns
        )
        # The sums of a forged receipt may give a negative variance.
        return np.asarray(np.sqrt(_as_floats(max(variance, Fraction(0)) for variance in variances)))

    @property
    def rms(self) -> np.ndarray:
        """The root mean square."""
        columns = zip(self.sum_of_squares, self.counts, strict=True)
        return np.asarray(np.sqrt(_as_floats(squares / max(count, 1) for squares, count in columns)))

    @property
    def size(self) -> np.ndarray:
        """The largest absolute value."""
        return np.asarray(np.maximum(np.abs(self.minimum), np.abs(self.maximum)))

    def to_json(self) -> PlainStatistics:
        """Return plain numbers, texts and lists; all values survive a round trip exactly."""
        return {
            "count": list(self.count) if isinstance(self.count, tuple) else self.count,
            "sum": [str(total) for total in self.sum],
            "sum_of_squares": [str(squares) for squares in self.sum_of_squares],
            # JSON has no infinity, the bounds of no values.
            "minimum": self.minimum.clip(-_LARGEST, _LARGEST).tolist(),
            "maximum": self.maximum.clip(-_LARGEST, _LARGEST).tolist(),
        }

    @classmethod
    def from_json(cls, numbers: PlainStatistics) -> RunningStatistics:
        """Return the statistics that `to_json` wrote."""
        count = numbers["count"]
        minimum, maximum = (np.array(numbers[key], np.float64) for key in ("minimum", "maximum"))  # type: ignore[literal-required]
        return cls(
            tuple(count) if isinstance(count, list) else count,
            tuple(map(Fraction, numbers["sum"])),
            tuple(map(Fraction, numbers["sum_of_squares"])),
            np.where(minimum == _LARGEST, np.inf, minimum),
            np.where(maximum == -_LARGEST, -np.inf, maximum),
        )


def _as_count(counts: list[int]) -> int | tuple[int, ...]:
    """Return one number if all channels have as many values; else the number of each channel."""
    return counts[0] if len(set(counts)) == 1 else tuple(counts)


def _exact_sums(
    counts: list[int], means: list[float], deviations: list[float], squared_deviations: list[float]
) -> tuple[Fraction, Fraction]:
    """Return the sum and the sum of squares of all trajectories of one channel.

    With the deviations d = u - m from the rounded mean m of n values u of a trajectory

        Σ u = n m + Σ d,    Σ u² = n m² + 2 m Σ d + Σ d²
    """
    total = squares = 0
    for num_values, mean, deviation, squared_deviation in zip(
        counts, map(_scaled, means), map(_scaled, deviations), map(_scaled, squared_deviations), strict=True
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
