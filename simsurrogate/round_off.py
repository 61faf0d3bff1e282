"""The distinction between a variation and round-off, the same for data sets and surrogates."""

from __future__ import annotations

import numpy as np


def nonrounding_std(std: np.ndarray, size: np.ndarray, precision: str) -> np.ndarray:
    """Return standard deviations with 0 in place of those below the round-off of their values.

    Values of a size s differ by ε s from their neighbours in a floating-point format, with ε = 1.2e-7 for
    float32 and 2.2e-16 for float64. A smaller standard deviation shows the rounding of equal values. Below
    the smallest normal number, 1.2e-38 for float32, values have few digits or are 0.

    Args:
        std: the standard deviations.
        size: the size of the values: the largest absolute value or the mean.
        precision: the format of the values, `float32` or `float64`.
    """
    limits = np.finfo(precision)
    return np.where(std > np.maximum(limits.eps * np.abs(size), limits.tiny), std, 0.0)
