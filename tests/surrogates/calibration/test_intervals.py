"""Conformal intervals: their coverage for exchangeable data, and their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from simsurrogate.errors import UserError
from surrogates.calibration import Intervals
from surrogates.calibration.intervals import LEVELS, hierarchical_quantiles, trajectories_needed

LEAD_TIMES = np.array([0.1, 0.2, 0.4])


def exchangeable_scores(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return scores (N, T, C, S) whose sizes differ between trajectories, frames and channels."""
    size = np.exp(rng.normal(size=(count, 1, 1, 1)))
    growth = np.arange(1, 4)[:, None, None] * np.array([1.0, 30.0])[:, None]
    return np.abs(rng.normal(size=(count, 3, 2, 7))) * size * growth


def intervals_of(scores: np.ndarray) -> Intervals:
    """Return intervals with a scale of 1 everywhere."""
    return Intervals(
        torch.from_numpy(LEAD_TIMES),
        torch.ones(scores.shape[1:]),
        torch.ones(scores.shape[1:3]),
        torch.from_numpy(hierarchical_quantiles(scores)),
        torch.from_numpy(np.sort(scores.max(axis=(1, 2, 3)))),
    )


def test_the_coverage_of_exchangeable_trajectories_is_the_probability() -> None:
    """For 19 trajectories the coverage lies between 90 % and 90 % + 1/20, and equals 90 % for joint bands."""
    rng = np.random.default_rng(0)
    marginal, joint = [], []
    for _ in range(400):
        intervals = intervals_of(exchangeable_scores(rng, 19))
        truth = torch.from_numpy(exchangeable_scores(rng, 20))
        half = intervals.half_widths(LEAD_TIMES, 0.9, "marginal")
        marginal.append((truth <= half).double().mean((0, 3)).numpy())
        half = intervals.half_widths(LEAD_TIMES, 0.9, "joint")
        joint.append((truth <= half).flatten(1).all(1).double().mean().item())
    # The standard error of the mean over 400 data sets is below 0.005 at each frame and channel.
    coverage = np.mean(marginal, axis=0)
    assert ((coverage > 0.9 - 0.015) & (coverage < 0.95 + 0.015)).all(), coverage
    assert np.mean(joint) == pytest.approx(0.9, abs=0.015)


def test_the_quantile_weighs_trajectories_and_infinity() -> None:
    """The distribution gives each of N trajectories and infinity the weight 1/(N + 1)."""
    scores = np.random.default_rng(1).normal(size=(4, 1, 1, 5)) ** 2
    quantiles = hierarchical_quantiles(scores)[:, 0, 0]
    weights = np.full(20, 1 / (5 * 5))
    values = np.sort(scores.ravel())
    for level, quantile in zip(LEVELS, quantiles, strict=True):
        reached = np.flatnonzero(np.cumsum(weights) >= level - 1e-9)
        expected = values[reached[0]] if len(reached) else math.inf
        assert quantile == pytest.approx(expected, rel=1e-6), level


def test_a_calibration_split_that_is_too_small_is_refused_with_the_number_needed() -> None:
    assert [trajectories_needed(level) for level in (0.5, 0.8, 0.9, 0.95, 0.99)] == [1, 4, 9, 19, 99]
    intervals = intervals_of(exchangeable_scores(np.random.default_rng(2), 8))
    message = r"interval=0.9 needs at least 9 calibration trajectories, and the calibration split has 8\. .*"
    for kind in ("marginal", "joint"):
        with pytest.raises(UserError, match=message + r"interval=0.885 .*samples.calibration=9"):
            intervals.half_widths(LEAD_TIMES, 0.9, kind)
        assert torch.isfinite(intervals.half_widths(LEAD_TIMES, 0.885, kind)).all()


@pytest.mark.parametrize("level", [0.0, -0.1, 1.0, 0.999, math.nan])
def test_impossible_probabilities_are_refused(level: float) -> None:
    intervals = intervals_of(exchangeable_scores(np.random.default_rng(3), 9))
    with pytest.raises(UserError, match=r"is not the probability of an interval.*interval=0.9"):
        intervals.check(level, "marginal")
    with pytest.raises(UserError, match=r"interval_kind='both' does not exist.*'marginal' and 'joint'"):
        intervals.check(0.5, "both")


def test_the_width_is_zero_at_the_start_linear_between_frames_and_refused_beyond_the_end() -> None:
    intervals = intervals_of(exchangeable_scores(np.random.default_rng(4), 9))
    times = np.array([0.0, 0.1, 0.2, 0.3, 0.4 * (1 + 1e-9)])
    half = intervals.half_widths(times, 0.9, "joint")
    assert (half[:, 0] == 0).all()
    torch.testing.assert_close(half[0, 1:], torch.full_like(half[0, 1:], float(intervals.joint[-1])))
    half = intervals.half_widths(times, 0.5, "marginal")
    torch.testing.assert_close(half[:, 3], (half[:, 2] + half[:, 4]) / 2)
    assert not torch.equal(half[:, 1], half[:, 2])
    with pytest.raises(UserError, match=r"The time 0.5 s after the start.*up to 0.4 s have intervals"):
        intervals.half_widths(np.array([0.0, 0.5]), 0.5, "marginal")


def test_the_scale_of_an_ensemble_is_a_moderated_deviation() -> None:
    """The scale is sqrt(((M - 1) (a s)^2 + 4 scale^2) / (M + 3))."""
    scale, factor = torch.rand(3, 2, 7, dtype=torch.float64), torch.rand(3, 2, dtype=torch.float64)
    empty = torch.empty(0)
    intervals = Intervals(torch.from_numpy(LEAD_TIMES), scale, factor, empty, empty)
    spread = torch.rand(5, 3, 2, 7, dtype=torch.float64)
    expected = ((2 * (factor[..., None] * spread) ** 2 + 4 * scale**2) / 6).sqrt()
    torch.testing.assert_close(intervals.sigma(LEAD_TIMES, spread, 3), expected)
    torch.testing.assert_close(intervals.sigma(LEAD_TIMES, None, 1), scale[None])


def test_a_trajectory_that_diverged_makes_the_highest_joint_interval_infinite() -> None:
    scores = exchangeable_scores(np.random.default_rng(5), 9)
    scores[3] = math.inf
    intervals = intervals_of(scores)
    assert torch.isinf(intervals.half_widths(LEAD_TIMES, 0.9, "joint")).all()
    assert torch.isfinite(intervals.half_widths(LEAD_TIMES, 0.8, "joint")).all()
    assert torch.isinf(intervals.half_widths(LEAD_TIMES, 0.9, "marginal")).all()
    assert (intervals.half_widths(np.array([0.0, 0.1]), 0.9, "marginal")[:, 0] == 0).all()
