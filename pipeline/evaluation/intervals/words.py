"""Intervals, alarms and attributions in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.evaluation.intervals.result import MIN_RANKED, NOMINAL_LEVELS

if TYPE_CHECKING:
    from pipeline.evaluation.intervals.result import (
        AttributionResult,
        ConfidenceResult,
        ConfidenceSplit,
        IntervalResult,
        LevelCoverage,
    )

#: The trajectories of the held-out splits in a sentence.
SPLIT_NAMES = {
    "test": "held-out trajectories",
    "test_extrapolation": "trajectories outside the training range",
}
#: The probability that sentences name, unless the calibration split is too small.
_LEVEL = 0.9


def percent(value: float | None) -> str:
    """Return a share as a percentage of three digits."""
    return "no value" if value is None else f"{100 * value:.3g} %"


def interval_sentences(result: IntervalResult) -> Iterator[str]:
    """Yield the coverage of each split, and what it means."""
    if result.reason:
        yield f"There are no intervals: {result.reason}."
        return
    if result.other_data:
        yield "The intervals are those of the data of the training, and have no guarantee for these data."
    end = "at the last frame with intervals" if result.other_data else "at the end"
    for split, coverage in result.splits.items():
        entry = _named_level(coverage.fields)
        if entry is None:
            yield (
                f"There are no intervals of at least {percent(NOMINAL_LEVELS[0])}, because the calibration "
                f"split has {result.trajectories} trajectories."
            )
            return
        is_promised = split == "test" and not result.other_data
        verdict = coverage_verdict(
            entry, coverage.trajectories, result.error_factor(split), is_promised=is_promised
        )
        name = SPLIT_NAMES.get(split, split)
        yield (
            f"On {coverage.trajectories} {name}, the {percent(entry.nominal)} intervals hold "
            f"{percent(entry.marginal)} of all values ({percent(entry.marginal_end)} {end}). "
            f"The joint intervals hold {percent(entry.joint)} of the whole trajectories. The mean width is "
            f"{_number(entry.marginal_width)} standard deviations of the training data, "
            f"{_number(entry.joint_width)} for joint intervals. {verdict}".rstrip()
        )


def coverage_verdict(
    entry: LevelCoverage, num_trajectories: int, error_factor: float, *, is_promised: bool
) -> str:
    """Return whether the marginal and the joint coverage are below the probability, in a sentence.

    The limit is two standard errors of test and calibration trajectories together. The standard error of the
    joint coverage is that of the probability, because the measured one is 0 if all trajectories are alike.

    Args:
        entry: the coverage on trajectories that are exchangeable with the calibration if `is_promised`.
        num_trajectories: the number of trajectories of the coverage.
        error_factor: see `IntervalResult.error_factor`.
        is_promised: whether a coverage that is not below the probability is worth a sentence.
    """
    marginal_error = entry.marginal_standard_error
    if entry.marginal is None or entry.joint is None or marginal_error is None:
        return "One trajectory does not tell whether the intervals are wide enough."
    joint_error = math.sqrt(entry.nominal * (1 - entry.nominal) / num_trajectories)
    pairs = (("values", entry.marginal, marginal_error), ("trajectories", entry.joint, joint_error))
    below = [name for name, share, error in pairs if share < entry.nominal - 2 * error_factor * error]
    if below and is_promised:
        return (
            f"The share of {' and of '.join(below)} is below the promise by more than two standard errors: "
            "the test split is probably unlike the calibration split."
        )
    if below:
        return "The intervals are too narrow there: the promise holds for inputs like the training data."
    return "This agrees with the promise, to two standard errors." if is_promised else ""


def _named_level(levels: list[LevelCoverage]) -> LevelCoverage | None:
    known = [entry for entry in levels if entry.marginal is not None and entry.nominal <= _LEVEL]
    return known[-1] if known else None


def confidence_sentences(result: ConfidenceResult) -> Iterator[str]:
    """Yield whether the expected errors rank the errors, and how often the guard raises an alarm."""
    for split, entry in result.splits.items():
        name = SPLIT_NAMES.get(split, split)
        if split == "test":
            yield _ranking(result, entry)
        alarms = "" if entry.alarm is None else f", and {percent(entry.alarm)} are unlike the training inputs"
        usual = ""
        if split == "test" and result.alarm_rate is not None and not result.other_data:
            usual = f" (at most {percent(result.alarm_rate)} are expected)"
        yield (
            f"Of {entry.trajectories} {name}, {percent(entry.outside_range)} have an input outside the range "
            f"of the training data{alarms}{usual}; predict(strict=True) refuses {percent(entry.either)}."
        )


def _ranking(result: ConfidenceResult, entry: ConfidenceSplit) -> str:
    if not result.fitted_on:
        return "There is no expected error, because the model has no calibration that applies here."
    if not result.has_predicted_error:
        count = sum(result.fitted_on.values())
        return f"There is no expected error, because {count} held-out trajectories are too few to learn it."
    if entry.trajectories < MIN_RANKED:
        return (
            f"The ranking by the expected error is unknown, because {entry.trajectories} test trajectories "
            f"are too few; {MIN_RANKED} are needed."
        )
    if None in entry.predicted_error:
        return "There is no expected error at the end, because the calibration ends before the rollouts."
    if entry.rank_correlation is None:
        return "The expected error ranks no errors, because one of both is equal for all trajectories."
    verdict = "ranks the errors" if entry.ranks_errors else "does not rank errors"
    return (
        f"The expected error {verdict} of held-out trajectories: the rank correlation is "
        f"{entry.rank_correlation:.2f}."
    )


def attribution_sentences(result: AttributionResult) -> Iterator[str]:
    """Yield what the prediction depends on, and the two checks of the gradients."""
    largest = sorted(result.shares.items(), key=lambda item: -item[1])[:3]
    shares = ", ".join(f"{name.replace('_', ' ')} {percent(share)}" for name, share in largest)
    yield f"The {result.output} at t = {result.time:.4g} s depends on: {shares}."
    if result.largest_cells is not None:
        yield f"A tenth of the cells of the inputs has {percent(result.largest_cells)} of the attribution."
    if result.completeness_error is not None:
        yield (
            "The integrated gradients sum up to the change of the value from the baseline, with "
            f"an error of {percent(result.completeness_error)}."
        )
    if result.shuffled_correlation is not None:
        verdict = (
            "so the maps show what the network learned"
            if result.is_sane
            else "so the maps show the structure of the network rather than what it learned"
        )
        yield (
            "With shuffled weights the gradients have the rank correlation "
            f"{result.shuffled_correlation:.2f} with those of the network, {verdict}."
        )
    if result.modes:
        names = [f"({', '.join(f'{wave:g}' for wave in mode.waves)})" for mode in result.modes]
        waves = ", ".join(
            f"{name} {percent(mode.share)}" for name, mode in zip(names[:3], result.modes, strict=False)
        )
        yield f"The most used Fourier modes are {waves}."


def _number(value: float | None) -> str:
    return "infinite" if value is None else f"{value:.3g}"
