"""The part of the report on alarms and expected errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.evaluation.intervals.words import SPLIT_NAMES, confidence_sentences, percent
from pipeline.evaluation.report.part import PartFigure, PartTable, ReportPart
from pipeline.plots.intervals import draw_errors_against_expected
from pipeline.plots.saving import save

if TYPE_CHECKING:
    from pipeline.evaluation.schema import Metrics


def confidence_part(metrics: Metrics, folder: Path) -> ReportPart | None:
    """Return the part on alarms and expected errors, with a figure in `folder`; None without this section."""
    result = metrics.confidence
    if result is None:
        return None
    figures = []
    if result.has_predicted_error:
        points = {}
        for split, entry in result.splits.items():
            pairs = [
                (expected, measured)
                for expected, measured in zip(entry.predicted_error, entry.error, strict=True)
                if expected is not None and measured is not None
            ]
            points[SPLIT_NAMES.get(split, split)] = ([x for x, _ in pairs], [y for _, y in pairs])
        path = save(draw_errors_against_expected(points), folder / "confidence.svg")
        caption = (
            "Relative error at the end of the rollout against the expected error, the predicted_error of "
            "predict(interval=...) and predict(strict=True)."
        )
        figures = [PartFigure(path, caption)]
    rows = [
        [
            SPLIT_NAMES.get(split, split),
            str(entry.trajectories),
            percent(entry.outside_range),
            percent(entry.alarm),
            percent(entry.either),
            "no value" if entry.rank_correlation is None else f"{entry.rank_correlation:.2f}",
        ]
        for split, entry in result.splits.items()
    ]
    headings = ("split", "trajectories", "outside the range", "unusual", "either", "rank correlation")
    table = PartTable("Inputs outside the training data, and the rank of the expected errors", headings, rows)
    return ReportPart(
        "confidence", "When not to trust a prediction", list(confidence_sentences(result)), figures, [table]
    )
