"""Errors and comparisons in words."""

from __future__ import annotations

from pipeline.evaluation.schema import Metrics, SplitResult

_SPLITS = {
    "test": "held-out trajectories",
    "test_extrapolation": "trajectories outside the training range",
}


def verdict(metrics: Metrics, split: str) -> str:
    """Return the sentence with the errors at the end of the rollout, of the surrogate and the baselines."""
    result = metrics.splits[split]
    error, persistence, mean = (
        result.headline[predictor].rollout_end.median for predictor in ("surrogate", "persistence", "mean")
    )
    cases = f"{result.trajectories} {_SPLITS.get(split, split)}"
    steps, end_time = len(metrics.time) - 1, metrics.time[-1]
    if error is None:
        return (
            f"On {cases}, the rollout of {metrics.surrogate} over {steps} steps diverges for at least half "
            "of them."
        )
    return (
        f"On {cases}, the rollout of {metrics.surrogate} over {steps} steps to t = {end_time:.4g} s ends "
        f"with a relative L2 error of {percent(error)} (median; worst {percent(worst(result))}): "
        f"{comparison(error, persistence)} persistence ({percent(persistence)}), "
        f"{comparison(error, mean)} the training mean ({percent(mean)}).{_spread_in_words(result)}"
    )


def _spread_in_words(result: SplitResult) -> str:
    """Return the sentence on the ensemble spread; empty for a single model."""
    spread = result.ensemble_spread
    if spread is None:
        return ""
    return (
        f" The spread of its {spread.members} members is {percent(spread.rollout_end.median)} there "
        f"(median), {number(spread.ratio_to_error)} times the error (1: calibrated; below 1: overconfident), "
        f"with a rank correlation of {number(spread.error_correlation)}."
    )


def number(value: float | None) -> str:
    """Return three figures, or words for a value that is not finite."""
    return "not finite" if value is None else f"{value:.3g}"


def worst(result: SplitResult) -> float | None:
    """Return the surrogate's largest error at the end of a rollout."""
    return result.headline["surrogate"].rollout_end.max


def comparison(error: float | None, reference: float | None) -> str:
    """Return the comparison of an error with a reference, to be followed by the reference's name.

    Examples: "2.4 times smaller error than", "2 % larger error than".
    """
    if error is None or reference is None or reference == 0:
        return "not comparable with"
    if error == 0:
        return "no error, unlike"
    if error == reference:
        return "the same error as"
    smaller, larger = min(error, reference), max(error, reference)
    word = "smaller" if error < reference else "larger"
    factor = larger / smaller
    if factor >= 1.1:
        return f"{factor:.3g} times {word} error than"
    share = (larger - smaller) / reference
    return f"{100 * share:.2g}\N{NO-BREAK SPACE}% {word} error than"


def percent(error: float | None) -> str:
    """Return an error as per cent with three figures and a space that does not break."""
    if error is None:
        return "not finite"
    share = 100 * error
    return f"{share:.0f}\N{NO-BREAK SPACE}%" if share >= 1000 else f"{share:.3g}\N{NO-BREAK SPACE}%"
