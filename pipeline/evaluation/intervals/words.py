"""Intervals, alarms and attributions in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.evaluation.intervals.result import NOMINAL_LEVELS

if TYPE_CHECKING:
    from pipeline.evaluation.intervals.result import (
        AttributionResult,
        ConfidenceResult,
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
    for split, coverage in result.splits.items():
        entry = _named_level(coverage.fields)
        if entry is None:
            yield (
                f"There are no intervals of at least {percent(NOMINAL_LEVELS[0])}, because the calibration "
                f"split has {result.trajectories} trajectories."
            )
            return
        verdict = ""
        if split == "test":
            verdict = _verdict(entry)
        elif is_lost(entry):
            verdict = (
                " The intervals are too narrow there: the promise holds for inputs like the training data."
            )
        name = SPLIT_NAMES.get(split, split)
        yield (
            f"On {coverage.trajectories} {name}, the {percent(entry.nominal)} intervals hold "
            f"{percent(entry.marginal)} of all values ({percent(entry.marginal_end)} at the end). "
            f"The joint intervals hold {percent(entry.joint)} of the whole trajectories. The mean width is "
            f"{_number(entry.marginal_width)} standard deviations of the training data, "
            f"{_number(entry.joint_width)} for joint intervals.{verdict}"
        )


def is_lost(entry: LevelCoverage) -> bool:
    """Return whether the marginal coverage is below the probability by more than two standard errors."""
    if entry.marginal is None:
        return False
    return entry.marginal < entry.nominal - 2 * (entry.marginal_standard_error or 0.0)


def _verdict(entry: LevelCoverage) -> str:
    if is_lost(entry):
        return " This is less than promised: the calibration split differs from the test split."
    return " This is what the intervals promise."


def _named_level(levels: list[LevelCoverage]) -> LevelCoverage | None:
    known = [entry for entry in levels if entry.marginal is not None and entry.nominal <= _LEVEL]
    return known[-1] if known else None


def confidence_sentences(result: ConfidenceResult) -> Iterator[str]:
    """Yield whether the expected errors rank the errors, and how often the guard raises an alarm."""
    for split, entry in result.splits.items():
        name = SPLIT_NAMES.get(split, split)
        if split == "test":
            yield _ranking(result, entry.rank_correlation, ranks=entry.ranks_errors)
        alarms = "" if entry.alarm is None else f", and {percent(entry.alarm)} are unlike the training inputs"
        usual = ""
        if split == "test" and result.alarm_rate is not None:
            usual = f" (at most {percent(result.alarm_rate)} are expected)"
        yield (
            f"Of {entry.trajectories} {name}, {percent(entry.outside_range)} have an input outside the range "
            f"of the training data{alarms}{usual}; predict(strict=True) refuses {percent(entry.either)}."
        )


def _ranking(result: ConfidenceResult, correlation: float | None, *, ranks: bool) -> str:
    if not result.has_predicted_error:
        count = sum(result.fitted_on.values())
        return f"There is no expected error, because {count} held-out trajectories are too few to learn it."
    if correlation is None:
        return "The ranking by the expected error is unknown, because the test split is too small."
    verdict = "ranks the errors" if ranks else "does not rank errors"
    return (
        f"The expected error {verdict} of held-out trajectories: the rank correlation is {correlation:.2f}."
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
