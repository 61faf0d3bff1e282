"""Bootstrap intervals, compared with scipy and with their coverage."""

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation.metrics.bootstrap import median_interval, ratio_interval

RNG = np.random.default_rng(0)


def test_the_interval_equals_that_of_scipy_up_to_the_noise_of_the_resamples() -> None:
    values = RNG.lognormal(size=60)
    expected = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=20_000, rng=1, vectorized=True
    ).confidence_interval
    interval = median_interval(values)
    width = expected.high - expected.low
    assert abs(interval.low - expected.low) < 0.08 * width
    assert abs(interval.high - expected.high) < 0.08 * width
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
