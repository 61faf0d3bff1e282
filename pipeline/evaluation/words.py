"""Errors and comparisons in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.evaluation.intervals.words import SPLIT_NAMES

if TYPE_CHECKING:
    from pipeline.evaluation.metrics.bootstrap import Interval
    from pipeline.evaluation.schema import Metrics, Predictor, SplitResult

#: The names of the baselines in a sentence.
BASELINE_NAMES = {
    "persistence": "persistence",
    "mean": "the training mean",
    "linear": "the linear solution",
    "ridge": "ridge regression",
    "dmd": "dynamic mode decomposition",
}
#: The names of predictors in a table that differ from the keys of metrics.json.
_PREDICTOR_NAMES = {"ridge": "ridge regression", "dmd": "DMD"}
#: The fitted baselines, of which the verdict names the more accurate one.
_FITTED: tuple[Predictor, ...] = ("ridge", "dmd")


def verdict(metrics: Metrics, split: str) -> str:
    """Return the sentence with the errors at the end of the rollout, of the surrogate and the baselines."""
    result = metrics.splits[split]
    surrogate_error, persistence_error, mean_error = (
        result.headline[predictor].rollout_end.median for predictor in ("surrogate", "persistence", "mean")
    )
    cases_text = f"{result.trajectories} {SPLIT_NAMES.get(split, split)}"
    steps, end_time = len(metrics.time) - 1, metrics.time[-1]
    if surrogate_error is None:
        return (
            f"On {cases_text}, the rollout of {metrics.surrogate} over {steps} steps diverges for at "
            "least half of the trajectories."
        )
    if result.vanished_fields:
        counts = [result.below_floor["relative_l2"][field][-1] for field in result.vanished_fields]
        fields_text = ", ".join(
            f"{field} in {count}" for field, count in zip(result.vanished_fields, counts, strict=True)
        )
        return (
            f"On {cases_text}, the relative L2 error of the rollout of {metrics.surrogate} at "
            f"t = {end_time:.4g} s is not meaningful: the truth is below 0.01 standard deviations of the "
            f"training split ({fields_text} of {result.trajectories} trajectories)."
        )
    linear_text = ""
    fitted_errors = [
        (error, BASELINE_NAMES[predictor])
        for predictor in _FITTED
        if predictor in result.headline
        and (error := result.headline[predictor].rollout_end.median) is not None
    ]
    fitted_text = ""
    if fitted_errors:
        error, name = min(fitted_errors)
        fitted_text = f", {comparison(surrogate_error, error)} {name} ({percent(error)})"
    if "linear" in result.headline:
        linear_error = result.headline["linear"].rollout_end.median
        linear_text = (
            f", {comparison(surrogate_error, linear_error)} the linear solution ({percent(linear_error)})"
        )
    return (
        f"On {cases_text}, the rollout of {metrics.surrogate} over {steps} steps to t = {end_time:.4g} s "
        f"ends with a relative L2 error of {percent(surrogate_error)} (median"
        f"{_interval_clause(result)}; worst {percent(worst_error(result))}): "
        f"{comparison(surrogate_error, persistence_error)} persistence ({percent(persistence_error)}), "
        f"{comparison(surrogate_error, mean_error)} the training mean ({percent(mean_error)})"
        f"{linear_text}{fitted_text}."
        f"{_undecided_in_words(result)}{_parts_in_words(result)}{_spread_in_words(result)}{_predictability_in_words(result)}"
    )


def _interval_clause(result: SplitResult) -> str:
    """Return the interval of the surrogate's median error as the end of a clause."""
    interval = result.headline["surrogate"].rollout_end_interval
    if interval is None:
        return ""
    return f", 95 % interval {interval_text(interval)}"


def _undecided_in_words(result: SplitResult) -> str:
    """Return the sentence on baselines that may be as accurate as the surrogate, or an empty text."""
    names = [
        BASELINE_NAMES.get(baseline, baseline)
        for baseline, comparison in result.comparisons.items()
        if comparison.interval.low is not None
        and comparison.interval.low <= 1
        and (comparison.interval.high is None or comparison.interval.high >= 1)
    ]
    if not names:
        return ""
    return (
        f" These {result.trajectories} trajectories do not decide whether {_listed(names)} "
        f"{'is' if len(names) == 1 else 'are'} more accurate (95 % intervals of the ratios contain 1)."
    )


def _listed(names: Sequence[str]) -> str:
    """Return names as a list in words."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _predictability_in_words(result: SplitResult) -> str:
    """Return the sentences on the predictable time, or an empty text without unpredictable trajectories."""
    predictability = result.predictability
    if predictability is None or predictability.complete == result.trajectories:
        return ""
    num_others = result.trajectories - predictability.complete
    inside, beyond = (
        percent(errors["surrogate"].median) if errors else "not measured"
        for errors in (predictability.inside, predictability.beyond)
    )
    return (
        f" Of these trajectories {num_others} are not predictable to the end, by the solver's own error. The "
        f"error at the last predictable frame is {inside} (median), and {beyond} at the end of the "
        f"unpredictable trajectories, where it is not meaningful."
    )


def _parts_in_words(result: SplitResult) -> str:
    """Return the sentence on the parts of the error, or an empty text for a surrogate without a basis."""
    if "projection" not in result.headline:
        return ""
    projection, regression = (
        percent(result.headline[part].rollout_end.median) for part in ("projection", "regression")
    )
    return (
        f" The error has two parts: {projection} from the projection onto the reduced basis, and "
        f"{regression} from the regression of its coefficients (medians)."
    )


def _spread_in_words(result: SplitResult) -> str:
    """Return the sentence on the ensemble spread, or an empty text for a single model."""
    spread = result.ensemble_spread
    if spread is None:
        return ""
    name = f"spread of the {spread.members} members" if spread.members > 1 else "predicted standard deviation"
    return (
        f" The {name} is {percent(spread.rollout_end.median)} at the "
        f"same time (median), {number_text(spread.ratio_to_error)} times the error (1: calibrated; below 1: "
        f"overconfident), with a rank correlation of {number_text(spread.error_correlation)}."
    )


def number_text(value: float | None) -> str:
    """Return three figures, or words for a value that is not finite."""
    return "not finite" if value is None else f"{value:.3g}"


def worst_error(result: SplitResult) -> float | None:
    """Return the surrogate's largest error at the end of a rollout."""
    return result.headline["surrogate"].rollout_end.max


def comparison(error: float | None, reference: float | None) -> str:
    """Return the comparison of an error with a reference, as the text before the reference's name.

    Examples: "2.4 times smaller error than", "2 % larger error than".
    """
    if error is None or reference is None or reference == 0:
        return "not comparable with"
    if error == 0:
        return "no error, unlike"
    if error == reference:
        return "the same error as"
    smaller_error, larger_error = min(error, reference), max(error, reference)
    direction = "smaller" if error < reference else "larger"
    factor = larger_error / smaller_error
    if factor >= 1.1:
        return f"{factor:.3g} times {direction} error than"
    relative_difference = (larger_error - smaller_error) / reference
    return f"{100 * relative_difference:.2g}\N{NO-BREAK SPACE}% {direction} error than"


def predictor_name(predictor: str, surrogate: str) -> str:
    """Return the name of a predictor in a table; `surrogate` is the name of the surrogate."""
    return surrogate if predictor == "surrogate" else _PREDICTOR_NAMES.get(predictor, predictor)


def interval_text(interval: Interval) -> str:
    """Return a bootstrap interval of an error, such as "4 % to 6 %"."""
    return f"{percent(interval.low)} to {percent(interval.high)}"


def end_percent(result: SplitResult, error: float | None) -> str:
    """Return an error at the end of the rollout as per cent, or that it is not meaningful."""
    return "not meaningful" if error is not None and result.vanished_fields else percent(error)


def percent(error: float | None) -> str:
    """Return an error as per cent with three figures and a space that does not break."""
    if error is None:
        return "not finite"
    percentage = 100 * error
    return (
        f"{percentage:.0f}\N{NO-BREAK SPACE}%"
        if percentage >= 1000
        else f"{percentage:.3g}\N{NO-BREAK SPACE}%"
    )
