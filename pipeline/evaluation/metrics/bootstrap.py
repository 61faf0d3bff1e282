"""Bootstrap intervals over trajectories.

Shape letters: N trajectories.
"""

from __future__ import annotations

import numpy as np

from pipeline.evaluation.section import Section, finite_or_none

#: The level of all bootstrap intervals, and the number of their resamples.
LEVEL = 0.95
NUM_RESAMPLES = 2000


class Interval(Section):
    """The percentile bootstrap interval of a number over the trajectories, of level `LEVEL`."""

    low: float | None
    high: float | None


def median_interval(values: np.ndarray) -> Interval:
    """Return the interval of the median of values (N,).

    The trajectories are the only source of variation: the interval states how the median would change with
    other trajectories of the same distribution, not with another training. It is too narrow for fewer than
    about 10 trajectories. The resamples depend on N alone.

    Source: the percentile method, Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.
    """
    return _interval(np.median(values[_resamples(len(values))], axis=1))


def ratio_interval(numerators: np.ndarray, denominators: np.ndarray) -> Interval:
    """Return the interval of the ratio of two medians, of values (N,) of the same trajectories.

    Both medians are those of the same resample, so that trajectories that are difficult for both do not widen
    the interval.
    """
    resamples = _resamples(len(numerators))
    with np.errstate(divide="ignore", invalid="ignore"):
        return _interval(
            np.median(numerators[resamples], axis=1) / np.median(denominators[resamples], axis=1)
        )


def _resamples(count: int) -> np.ndarray:
    """Return the indices of the trajectories of each resample, (NUM_RESAMPLES, N)."""
    return np.random.default_rng(count).integers(count, size=(NUM_RESAMPLES, count))


def _interval(statistics: np.ndarray) -> Interval:
    """Return the quantiles of a statistic over the resamples; infinity sorts last."""
    ordered = np.sort(np.where(np.isnan(statistics), np.inf, statistics))
    tails = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(ordered, tails)
    return Interval(low=finite_or_none(low), high=finite_or_none(high))
