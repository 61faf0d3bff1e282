"""The comparison of two samples by their distribution functions (Kolmogorov and Smirnov)."""

from __future__ import annotations

import math

import numpy as np


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return the largest distance D of two empirical distribution functions, and its probability.

    For n and m independent values of one distribution, and N = n m / (n + m), a distance of D or more has
    about the probability

        Q(λ) = 2 Σ_{k≥1} (-1)^{k-1} exp(-2 k² λ²),    λ = (√N + 0.12 + 0.11 / √N) D

    (Stephens 1970, "Use of the Kolmogorov-Smirnov, Cramér-Von Mises and related statistics without extensive
    tables"; Press et al. 2007, Numerical Recipes, section 14.3.3). Equal values make the probability larger
    than the exact one.

    Args:
        first: one sample (n,).
        second: another sample (m,).
    """
    values = np.concatenate([first, second])
    below_first = np.searchsorted(np.sort(first), values, side="right") / len(first)
    below_second = np.searchsorted(np.sort(second), values, side="right") / len(second)
    distance = float(np.abs(below_first - below_second).max())
    root = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    return distance, _probability((root + 0.12 + 0.11 / root) * distance)


def _probability(scaled: float) -> float:
    """Return Q(λ)."""
    # The series converges slowly where Q is 1 up to 1e-6.
    if scaled < 0.3:
        return 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 20))
    return float(min(max(sum(terms), 0.0), 1.0))
