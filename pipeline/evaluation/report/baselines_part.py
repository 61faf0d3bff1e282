"""The part of the report on the baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.evaluation.report.part import PartFigure, PartTable, ReportPart
from pipeline.evaluation.report.worth_section import front_rows
from pipeline.evaluation.schema import ERROR_PARTS
from pipeline.evaluation.words import (
    BASELINE_NAMES,
    end_percent,
    interval_text,
    number_text,
    percent,
    predictor_name,
)
from pipeline.plots.error_intervals import ErrorInterval, draw
from pipeline.plots.saving import save

if TYPE_CHECKING:
    from pipeline.evaluation.schema import Comparison, Metrics, SplitResult


def baselines_part(metrics: Metrics, split: str, folder: Path) -> ReportPart:
    """Return the errors of the surrogate, the baselines and the solver's cheaper settings, with intervals.

    The picture is written to `folder`. The solver's settings are those of the worth, which were measured on
    the split `test`.
    """
    result = metrics.splits[split]
    worth_rows = front_rows(metrics.worth) if metrics.worth is not None and split == "test" else []
    sentences = [
        *(
            _comparison_sentence(metrics.surrogate, BASELINE_NAMES.get(baseline, baseline), comparison)
            for baseline, comparison in result.comparisons.items()
            if not result.vanished_fields
        ),
        *metrics.baselines.values(),
    ]
    if metrics.worth is None:
        sentences.append(f"Errors of the solver on coarser grids are missing. {metrics.skipped['worth']}")
    figures = []
    if not result.vanished_fields:
        figure = draw(_intervals(metrics, result, split), "relative L2 error at the end")
        path = save(figure, folder / f"{split}-baselines.svg")
        caption = (
            "Median error at the end of the rollout (dot) and its 95 % bootstrap interval over the "
            f"{result.trajectories} trajectories (bar). Dashed: {metrics.surrogate}."
        )
        figures.append(PartFigure(path, caption))
    rows = [
        (
            predictor_name(predictor, metrics.surrogate),
            percent(headline.one_step.median),
            end_percent(result, headline.rollout_end.median),
            "" if headline.rollout_end_interval is None else interval_text(headline.rollout_end_interval),
            end_percent(result, headline.rollout_end.max),
        )
        for predictor, headline in result.headline.items()
    ]
    rows += [(name, "", error, "", "") for name, error, *_ in worth_rows]
    table = PartTable(
        f"Relative L2 error, median over {result.trajectories} trajectories",
        ("predictor", "one step", "end of rollout", "95 % interval", "worst"),
        rows,
    )
    return ReportPart("baselines", "Comparison with baselines", sentences, figures, [table])


def _comparison_sentence(surrogate: str, baseline: str, comparison: Comparison) -> str:
    """Return the comparison with one baseline, and whether the trajectories decide it."""
    ratio, low, high = comparison.ratio, comparison.interval.low, comparison.interval.high
    if ratio is None or low is None or ratio == 0:
        return f"The error of {surrogate} and that of {baseline} have no finite ratio."
    if low <= 1 and (high is None or high >= 1):
        return (
            f"The trajectories do not decide between {surrogate} and {baseline}: the ratio of the median "
            f"errors is {number_text(ratio)}, 95 % interval {number_text(low)} to {number_text(high)}."
        )
    if ratio >= 1:
        return (
            f"The median error of {surrogate} is {number_text(ratio)} times smaller than that of {baseline} "
            f"(95 % interval {number_text(low)} to {number_text(high)})."
        )
    largest = None if not low > 0 else 1 / low
    smallest = None if high is None else 1 / high
    return (
        f"The median error of {surrogate} is {number_text(1 / ratio)} times larger than that of {baseline} "
        f"(95 % interval {number_text(smallest)} to {number_text(largest)})."
    )


def _intervals(metrics: Metrics, result: SplitResult, split: str) -> list[ErrorInterval]:
    """Return the rows of the picture: the surrogate, the baselines, then the solver's settings."""
    intervals = []
    for predictor, headline in result.headline.items():
        if predictor in ERROR_PARTS:
            continue
        interval = headline.rollout_end_interval
        intervals.append(
            ErrorInterval(
                name=predictor_name(predictor, metrics.surrogate),
                kind="surrogate" if predictor == "surrogate" else "baseline",
                error=headline.rollout_end.median,
                low=interval.low if interval else None,
                high=interval.high if interval else None,
            )
        )
    if metrics.worth is not None and split == "test":
        names = {name for name, *_ in front_rows(metrics.worth)}
        intervals += [
            ErrorInterval(f"solver, {setting.name}", "solver", setting.error, None, None)
            for setting in metrics.worth.settings
            if f"solver, {setting.name}" in names and setting.error
        ]
    return intervals
