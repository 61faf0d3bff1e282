"""Bootstrap intervals, compared with scipy and with their coverage."""

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation.metrics.bootstrap import NUM_RESAMPLES, median_interval, ratio_interval

RNG = np.random.default_rng(0)


def scipys_interval(statistic, *samples: np.ndarray, num_resamples: int, seed: int) -> tuple[float, float]:
    result = stats.bootstrap(
        samples,
        statistic,
        paired=len(samples) > 1,
        vectorized=True,
        method="percentile",
        n_resamples=num_resamples,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(result.low), float(result.high)


def ratio_of_medians(numerators: np.ndarray, denominators: np.ndarray, axis: int) -> np.ndarray:
    result: np.ndarray = np.median(numerators, axis=axis) / np.median(denominators, axis=axis)
    return result


def test_the_intervals_equal_those_of_scipy_for_the_same_resamples() -> None:
    values, others = RNG.lognormal(size=(2, 60))
    expected = scipys_interval(np.median, values, num_resamples=NUM_RESAMPLES, seed=60)
    interval = median_interval(values)
    assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-12)
    expected = scipys_interval(ratio_of_medians, values, others, num_resamples=NUM_RESAMPLES, seed=60)
    interval = ratio_interval(values, others)
    assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-12)


def test_the_interval_hardly_depends_on_the_resamples() -> None:
    values = RNG.lognormal(size=60)
    low, high = scipys_interval(np.median, values, num_resamples=20_000, seed=1)
    interval = median_interval(values)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.08 * (high - low))
    assert median_interval(values) == interval


def test_nine_of_ten_intervals_and_more_contain_the_median_of_the_distribution() -> None:
    covered = [
        interval.low <= 1 <= interval.high
        for interval in (median_interval(RNG.lognormal(size=25)) for _ in range(150))
    ]
    # The nominal level is 95 %, and the standard error of this mean is 2 %.
    assert 0.88 <= np.mean(covered) <= 1


def test_the_interval_of_a_ratio_uses_the_same_trajectories_for_both_medians() -> None:
    difficulty = RNG.lognormal(sigma=2, size=40)
    interval = ratio_interval(3 * difficulty, difficulty)
    assert (interval.low, interval.high) == pytest.approx((3, 3))
    assert ratio_interval(difficulty, RNG.permutation(difficulty)).high > 1.5


def test_diverged_trajectories_belong_to_the_interval() -> None:
    interval = median_interval(np.array([0.1, 0.2, 0.3, np.inf, np.inf]))
    assert interval.low == 0.1
    assert interval.high is None
