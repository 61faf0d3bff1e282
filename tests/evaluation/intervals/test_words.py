"""Sentences on the coverage of intervals and on the ranking by the expected error, and their limits."""

from __future__ import annotations

import pytest

from pipeline.evaluation.intervals.result import (
    ConfidenceResult,
    ConfidenceSplit,
    CoverageResult,
    IntervalResult,
    LevelCoverage,
)
from pipeline.evaluation.intervals.words import confidence_sentences, interval_sentences


def intervals_of(
    marginal: float,
    error: float | None,
    joint: float,
    *,
    test: int = 400,
    calibration: int = 40,
    split: str = "test",
    other_data: bool = False,
) -> IntervalResult:
    """Return the coverage of 90 % intervals on one split."""
    level = LevelCoverage(
        nominal=0.9,
        marginal=marginal,
        marginal_end=marginal,
        marginal_standard_error=error,
        marginal_width=1.0,
        joint=joint,
        joint_standard_error=error,
        joint_width=2.0,
    )
    return IntervalResult(
        other_data=other_data,
        trajectories=calibration,
        scale="residual scale",
        scale_trajectories=4,
        splits={split: CoverageResult(trajectories=test, fields=[level], quantities={})},
    )


BELOW = "is below the promise by more than two standard errors"


@pytest.mark.parametrize(
    ("marginal", "joint", "numbers", "phrase"),
    [
        # The test trajectories alone have an error of 1 point; with 40 of calibration it is 3.3 points.
        (0.87, 0.9, {}, "This agrees with the promise, to two standard errors."),
        (0.87, 0.9, {"calibration": 4000}, f"The share of values {BELOW}"),
        (0.82, 0.9, {}, f"The share of values {BELOW}"),
        # The joint coverage has an error of 1.5 points of the test, and of 5 points with the calibration.
        (0.9, 0.81, {}, "This agrees with the promise"),
        (0.9, 0.75, {}, f"The share of trajectories {BELOW}"),
        (0.5, 0.2, {}, f"The share of values and of trajectories {BELOW}"),
    ],
)
def test_a_coverage_is_too_small_beyond_the_errors_of_both_splits(
    marginal: float, joint: float, numbers: dict[str, int], phrase: str
) -> None:
    (sentence,) = interval_sentences(intervals_of(marginal, 0.01, joint, **numbers))
    assert phrase in sentence
    (sentence,) = interval_sentences(
        intervals_of(marginal, 0.01, joint, **numbers, split="test_extrapolation")
    )
    assert ("The intervals are too narrow there" in sentence) == (BELOW in phrase)


def test_one_trajectory_does_not_tell_whether_intervals_are_wide_enough() -> None:
    for split in ("test", "test_extrapolation"):
        for marginal, joint in ((0.5, 0.0), (1.0, 1.0)):
            (sentence,) = interval_sentences(intervals_of(marginal, None, joint, test=1, split=split))
            assert sentence.endswith("One trajectory does not tell whether the intervals are wide enough.")


def test_other_data_have_no_promise() -> None:
    first, sentence = interval_sentences(intervals_of(0.9, 0.01, 0.9, other_data=True))
    assert "no guarantee for these data" in first
    assert "promise" not in sentence
    _, sentence = interval_sentences(intervals_of(0.5, 0.01, 0.9, other_data=True))
    assert sentence.endswith(
        "The intervals are too narrow there: the promise holds for inputs like the training data."
    )


@pytest.mark.parametrize(
    ("trajectories", "predicted", "correlation", "phrase"),
    [
        (5, 0.1, None, "unknown, because 5 test trajectories are too few; 8 are needed"),
        (400, 0.1, None, "ranks no errors, because one of both is equal for all trajectories"),
        (400, None, None, "no expected error at the end, because the calibration ends before the rollouts"),
        (400, 0.1, 0.7, "ranks the errors of held-out trajectories: the rank correlation is 0.70"),
        (400, 0.1, 0.3, "does not rank errors of held-out trajectories: the rank correlation is 0.30"),
    ],
)
def test_the_ranking_names_what_is_missing(
    trajectories: int, predicted: float | None, correlation: float | None, phrase: str
) -> None:
    split = ConfidenceSplit(
        trajectories=trajectories,
        outside_range=0.0,
        alarm=0.0,
        either=0.0,
        predicted_error=[predicted] * trajectories,
        error=[0.1] * trajectories,
        rank_correlation=correlation,
    )
    result = ConfidenceResult(
        threshold=1.0,
        alarm_rate=0.01,
        features=3,
        fitted_on={"valid": 20, "calibration": 0},
        has_predicted_error=True,
        splits={"test": split},
    )
    ranking, alarms = confidence_sentences(result)
    assert phrase in ranking
    assert "(at most 1 % are expected)" in alarms
    unmeasured = result.model_copy(update={"other_data": True, "fitted_on": {}, "has_predicted_error": False})
    ranking, alarms = confidence_sentences(unmeasured)
    assert ranking == "There is no expected error, because the model has no calibration that applies here."
    assert "are expected" not in alarms
