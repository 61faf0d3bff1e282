"""Means and variances of data in several parts, combined without loss of accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from typing_extensions import TypedDict  # pydantic refuses typing.TypedDict before Python 3.12


class PlainStatistics(TypedDict):
    """Running statistics in the form of a receipt: numbers and lists."""

    count: int
    mean: list[float]
    squared_deviation: list[float]
    minimum: list[float]
    maximum: list[float]


@dataclass(frozen=True)
class RunningStatistics:
    """Count, mean, sum of squared deviations, minimum and maximum, one value for each channel (C,).

    Two statistics are combined by the pairwise update of Chan, Golub and LeVeque (1979), equation 2.1. Unlike
    a difference of sums of squares, this update suffers no cancellation.
    """

    count: int
    mean: np.ndarray
    squared_deviation: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray

    @classmethod
    def empty(cls, num_channels: int) -> RunningStatistics:
        """Return the statistics of no values."""
        zeros = np.zeros(num_channels)
        return cls(0, zeros, zeros, np.full(num_channels, np.inf), np.full(num_channels, -np.inf))

    @classmethod
    def of(cls, values: np.ndarray) -> RunningStatistics:
        """Return the statistics of `values` (C, ...) over all but the first axis, in float64."""
        flat_values = values.reshape(len(values), math.prod(values.shape[1:])).astype(np.float64)
        if flat_values.size == 0:
            return cls.empty(len(values))
        mean = flat_values.mean(axis=1)
        minimum, maximum = flat_values.min(axis=1), flat_values.max(axis=1)
        flat_values -= mean[:, None]
        return cls(
            flat_values.shape[1], mean, np.einsum("cn,cn->c", flat_values, flat_values), minimum, maximum
        )

    def __add__(self, other: RunningStatistics) -> RunningStatistics:
        count = self.count + other.count
        if count == 0:
            return self
        mean_difference = other.mean - self.mean
        other_share = other.count / count
        return RunningStatistics(
            count,
            self.mean + mean_difference * other_share,
            self.squared_deviation
            + other.squared_deviation
            + mean_difference**2 * (self.count * other_share),
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of the whole population."""
        return np.sqrt(self.squared_deviation / max(self.count, 1))

    @property
    def rms(self) -> np.ndarray:
        """The root mean square."""
        return np.asarray(np.sqrt(self.mean**2 + self.std**2))

    def to_json(self) -> PlainStatistics:
        """Return plain numbers and lists; floats survive a round trip exactly."""
        return {
            "count": self.count,
            "mean": self.mean.tolist(),
            "squared_deviation": self.squared_deviation.tolist(),
            "minimum": self.minimum.tolist(),
            "maximum": self.maximum.tolist(),
        }

    @classmethod
    def from_json(cls, numbers: PlainStatistics) -> RunningStatistics:
        """Return the statistics that `to_json` wrote."""
        return cls(
            numbers["count"],
            np.array(numbers["mean"], dtype=np.float64),
            np.array(numbers["squared_deviation"], dtype=np.float64),
            np.array(numbers["minimum"], dtype=np.float64),
            np.array(numbers["maximum"], dtype=np.float64),
        )
