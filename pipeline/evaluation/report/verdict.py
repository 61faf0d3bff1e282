"""The verdict on a surrogate in one word and one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.evaluation.schema import BASELINES
from pipeline.evaluation.words import BASELINE_NAMES, comparison, percent
from pipeline.evaluation.worth_words import EQUAL_RATIO, ratio_text

if TYPE_CHECKING:
    from pipeline.evaluation.schema import Metrics
    from pipeline.evaluation.worth_result import WorthResult

#: `good`: use it; `batches`: use it in batches only; `useless`: the solver is faster at the same error;
#: `poor`: hardly better than a baseline; `worse`: worse than a baseline or diverged; `open`: not measurable.
Level = Literal["good", "batches", "useless", "poor", "worse", "open"]

#: A surrogate with more than this share of a baseline's error has learned little.
_LITTLE_LEARNED = 0.5


@dataclass(frozen=True)
class Verdict:
    """The verdict: its level, the level in words, and the sentence with the reason."""

    level: Level
    words: str
    sentence: str


def verdict_of(metrics: Metrics) -> Verdict:
    """Return the verdict from the median errors at the end of the rollout on the first split, and the worth.

    Errors of chaotic trajectories are those of their last predictable frames.

    A surrogate is good if its error is at most half the error of every baseline and, where the worth was
    measured, if it is faster than the solver at the same error.
    """
    result = next(iter(metrics.splits.values()))
    predictability = result.predictability
    if predictability and predictability.inside and predictability.complete < result.trajectories:
        place = "at the last predictable frame"
        errors = {name: summary.median for name, summary in predictability.inside.items()}
    else:
        place = "at the end of the rollout"
        errors = {name: headline.rollout_end.median for name, headline in result.headline.items()}
    error = errors["surrogate"]
    if error is None:
        return Verdict(
            "worse",
            "Diverges",
            "Do not use this surrogate: at least half of its rollouts grow without bound.",
        )
    if result.vanished_fields:
        return Verdict(
            "open",
            "Not measurable",
            f"The truth of {', '.join(result.vanished_fields).replace('_', ' ')} has died out at the end, so "
            "relative errors say nothing. Read the errors at earlier times.",
        )
    baseline_errors = {
        BASELINE_NAMES.get(predictor, predictor.replace("_", " ")): value
        for predictor, value in errors.items()
        if value is not None and predictor in BASELINES
    }
    name = min(baseline_errors, key=baseline_errors.__getitem__, default="persistence")
    baseline_error = baseline_errors.get(name)
    compared = f"{comparison(error, baseline_error)} {name} ({percent(baseline_error)})"
    reason = f"Its median error {place} is {percent(error)}: {compared}."
    if baseline_error is not None and error >= baseline_error:
        return Verdict("worse", f"Worse than {name}", f"Do not use this surrogate. {reason}")
    if baseline_error is not None and error > _LITTLE_LEARNED * baseline_error:
        return Verdict(
            "poor",
            "Has learned little",
            f"Do not rely on this surrogate. {reason}",
        )
    if metrics.worth is None:
        return Verdict(
            "good",
            "Good",
            f"The surrogate predicts well. {reason} Its time was not compared with that of the solver.",
        )
    return _with_worth(metrics.worth, reason)


def _with_worth(worth: WorthResult, reason: str) -> Verdict:
    """Return the verdict on an accurate surrogate; `reason` names its error."""
    ratio, batch_ratio = worth.speed_up.median, worth.batch_speed_up.median
    if ratio > EQUAL_RATIO:
        return Verdict(
            "good",
            "Good",
            f"Use this surrogate within the range of its training: one query is {ratio_text(ratio)} times "
            f"faster than the solver at the same error. {reason}",
        )
    if batch_ratio > EQUAL_RATIO:
        return Verdict(
            "batches",
            "Good in batches only",
            f"Use this surrogate for many queries at once: a batch is {ratio_text(batch_ratio)} times faster "
            f"than the solver at the same error, and a single query is not faster. {reason}",
        )
    if ratio > 1 / EQUAL_RATIO:
        speed = "the solver takes the same time"
    else:
        speed = f"the solver is {ratio_text(1 / ratio)} times faster"
    return Verdict(
        "useless",
        "Useless: the solver is as fast" if ratio > 1 / EQUAL_RATIO else "Useless: the solver is faster",
        f"Do not use this surrogate to save time: {speed} at the same error. {reason}",
    )
