"""The part of the report on intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.evaluation.intervals.words import SPLIT_NAMES, interval_sentences, percent
from pipeline.evaluation.report.part import PartFigure, PartTable, ReportPart
from pipeline.plots.intervals import draw_coverage
from pipeline.plots.saving import save

if TYPE_CHECKING:
    from pipeline.evaluation.intervals.result import IntervalResult, LevelCoverage
    from pipeline.evaluation.schema import Metrics

#: The titles and captions of the figures, by the kind of the intervals.
_FIGURES = {
    "marginal": (
        "each value (marginal)",
        "Share of the true values inside their intervals, against the probability of the intervals; bars: "
        "two standard errors of test and calibration trajectories together. Below the dashed line, the "
        "intervals are too narrow.",
    ),
    "joint": (
        "whole trajectories (joint)",
        "Share of the trajectories with all values inside their intervals, against the probability.",
    ),
}
_HEADINGS = (
    "probability",
    "values inside",
    "at the end",
    "standard error",
    "width",
    "trajectories inside (joint)",
    "joint width",
)


def intervals_part(metrics: Metrics, folder: Path) -> ReportPart | None:
    """Return the part on intervals, with a figure in `folder`; None for results without this section."""
    result = metrics.intervals
    if result is None:
        return None
    sentences = list(interval_sentences(result))
    if not result.splits:
        return ReportPart("intervals", "Intervals", sentences)
    sentences.append(
        f"The intervals come from {result.trajectories} calibration trajectories, scaled by the "
        f"{result.scale}. They hold on average over trajectories and cells, not at each fixed cell. "
        "Each frame has its own calibration, so growing errors do not spoil them. Exact coverage is "
        "impossible for rollouts from unlike initial states, and beyond "
        f"t = {metrics.time[0] + (result.duration or 0.0):.4g} s, where predict refuses intervals."
    )
    figures = [
        PartFigure(_draw(result, title, key, folder), caption) for key, (title, caption) in _FIGURES.items()
    ]
    tables = []
    for split, coverage in result.splits.items():
        name = SPLIT_NAMES.get(split, split)
        caption = f"Coverage on {coverage.trajectories} {name}; widths in standard deviations of the data"
        tables.append(PartTable(caption, _HEADINGS, _rows(coverage.fields)))
        for quantity, levels in coverage.quantities.items():
            caption = f"Coverage of {quantity.replace('_', ' ')} on {coverage.trajectories} {name}"
            tables.append(PartTable(caption, _HEADINGS, _rows(levels)))
    return ReportPart("intervals", "Intervals", sentences, figures, tables)


def _draw(result: IntervalResult, title: str, key: str, folder: Path) -> Path:
    """Draw the marginal or the joint coverage of all splits, and return the path of the figure."""
    curves = {
        SPLIT_NAMES.get(split, split): [
            (
                entry.nominal,
                getattr(entry, key),
                result.error_factor(split) * (getattr(entry, f"{key}_standard_error") or 0.0),
            )
            for entry in coverage.fields
        ]
        for split, coverage in result.splits.items()
    }
    return save(draw_coverage(title, curves), folder / f"intervals-{key}.svg")


def _rows(levels: list[LevelCoverage]) -> list[list[str]]:
    return [
        [
            percent(entry.nominal),
            *(
                percent(value)
                for value in (entry.marginal, entry.marginal_end, entry.marginal_standard_error)
            ),
            _width(entry.marginal_width),
            percent(entry.joint),
            _width(entry.joint_width),
        ]
        for entry in levels
    ]


def _width(value: float | None) -> str:
    return "no value" if value is None else f"{value:.3g}"
