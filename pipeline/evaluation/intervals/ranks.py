"""Rank correlation without scipy.stats, whose import takes most of a second."""

from __future__ import annotations

import math

import numpy as np


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation; NaN if an array is constant or has fewer than three values.

    Infinite values have the largest rank. NaN in an array makes the result NaN.
    """
    if len(first) < 3 or np.isnan(first).any() or np.isnan(second).any():
        return math.nan
    ranks = [_ranks(values) for values in (first, second)]
    if np.ptp(ranks[0]) == 0 or np.ptp(ranks[1]) == 0:
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value; equal values have the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks
