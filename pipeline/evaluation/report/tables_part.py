"""The part with all tables of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.evaluation import other_grids
from pipeline.evaluation.mixture import sources
from pipeline.evaluation.report.context import split_name
from pipeline.evaluation.report.part import PartTable, ReportPart
from pipeline.evaluation.schema import MODES, Metric, Mode, SplitResult
from pipeline.evaluation.words import end_percent, number_text, percent
from pipeline.plots.comparison import NUM_COLUMNS
from pipeline.plots.labels import even_frames, rounded_text, unit_words

if TYPE_CHECKING:
    from pipeline.evaluation.report.context import ReportContext

_MODE_NAMES: dict[Mode, str] = {"one_step": "One step", "rollout": "Rollout"}
_METRIC_NAMES: dict[Metric, str] = {"relative_l2": "relative L2", "vrmse": "VRMSE"}


def tables_part(context: ReportContext) -> ReportPart:
    """Return the part with the errors of all predictors by split, field and time."""
    tables = []
    for split, result in context.metrics.splits.items():
        tables += [
            _headline(context, split, result),
            *_spread(split, result),
            *_predictability(context, split, result),
            *_invariants(context, split, result),
            *(_by_time(context, split, mode, metric) for mode in reversed(MODES) for metric in _METRIC_NAMES),
        ]
    if context.metrics.other_grids:
        tables.append(
            PartTable(
                "Relative L2 on the test split of data sets of the same system on other grids, mean over the "
                "fields. The weights are the same on all grids",
                other_grids.HEADINGS,
                other_grids.rows(context.metrics, context.spec.shape),
                num_text_columns=0,
            )
        )
    if context.metrics.sources:
        tables.append(
            PartTable(
                "Relative L2 on the test split of each data set, mean over the fields. Errors on measured "
                "data are over the measured values, and their noise is relative to the field",
                sources.HEADINGS,
                sources.rows(context.metrics, str(context.dataset.folder)),
                num_text_columns=2,
            )
        )
    return ReportPart("tables", "Tables", tables=tables)


def _headline(context: ReportContext, split: str, result: SplitResult) -> PartTable:
    """Return the headline errors of all predictors."""
    return PartTable(
        f"Relative L2, mean over the fields, {split_name(split)} ({result.trajectories} trajectories)",
        ("", "one step, median", "end of rollout, median", "mean", "90 % quantile", "worst"),
        [
            (
                context.name_of(predictor),
                percent(headline.one_step.median),
                end_percent(result, headline.rollout_end.median),
                end_percent(result, headline.rollout_end.mean),
                end_percent(result, headline.rollout_end.q90),
                end_percent(result, headline.rollout_end.max),
            )
            for predictor, headline in result.headline.items()
        ],
    )


def _spread(split: str, result: SplitResult) -> list[PartTable]:
    """Return the table of an ensemble's spread; empty for a single model."""
    spread = result.ensemble_spread
    if spread is None:
        return []
    rows = [
        (
            f"spread of {spread.members} members at the end of the rollout, median",
            percent(spread.rollout_end.median),
        ),
        (
            "spread over error; 1: the spread matches the error; below 1: the ensemble is overconfident",
            number_text(spread.ratio_to_error),
        ),
        ("rank correlation of spread and error over the trajectories", number_text(spread.error_correlation)),
    ]
    return [PartTable(f"Ensemble spread, {split_name(split)}", ("", "value"), rows)]


def _predictability(context: ReportContext, split: str, result: SplitResult) -> list[PartTable]:
    """Return each predictor's errors inside and beyond the predictable time; empty without such a time."""
    if result.predictability is None:
        return []
    inside, beyond = result.predictability.inside, result.predictability.beyond
    rows = [
        (
            context.name_of(predictor),
            *(
                percent(value) if errors else "no trajectory"
                for errors in (inside, beyond)
                for value in ((errors[predictor].median, errors[predictor].max) if errors else (None, None))
            ),
        )
        for predictor in result.headline
    ]
    caption = (
        f"Relative L2 of the rollout, {split_name(split)}: inside the predictable time (its last frame) and "
        "beyond (the last frame of trajectories that are not predictable to the end)"
    )
    return [PartTable(caption, ("", "inside, median", "worst", "beyond, median", "worst"), rows)]


def _invariants(context: ReportContext, split: str, result: SplitResult) -> list[PartTable]:
    """Return size and error of each invariant at the end of the rollout; empty without invariants."""
    rows = []
    for quantity in context.spec.frame_invariants:
        invariant = result.invariants[quantity.name]
        error = invariant.error
        values = (invariant.size, error.median[-1], error.mean[-1], error.q90[-1], error.max[-1])
        rows.append(
            (
                quantity.name.replace("_", " "),
                unit_words(quantity.unit),
                *(number_text(value) for value in values),
            )
        )
    if not rows:
        return []
    caption = (
        f"Invariants at the end of the rollout, {split_name(split)}: distance between prediction and truth"
    )
    headings = ("", "unit", "size in the truth", "median", "mean", "90 % quantile", "worst")
    return [PartTable(caption, headings, rows, num_text_columns=2)]


def _by_time(context: ReportContext, split: str, mode: Mode, metric: Metric) -> PartTable:
    """Return the errors of one mode and metric at a few times."""
    metrics, result = context.metrics, context.metrics.splits[split]
    frames = [frame - 1 for frame in even_frames(len(metrics.time), NUM_COLUMNS)]
    return PartTable(
        f"{_MODE_NAMES[mode]}, {_METRIC_NAMES[metric]}, median over the trajectories, {split_name(split)}",
        ("field", "", *(f"{rounded_text(metrics.time[frame + 1])} s" for frame in frames)),
        [
            (
                field.replace("_", " "),
                context.name_of(predictor),
                *(
                    number_text(result.errors[predictor][mode][metric][field].median[frame])
                    if result.is_meaningful(metric, field, frame)
                    else "not meaningful"
                    for frame in frames
                ),
            )
            for field in metrics.fields
            for predictor in result.errors
        ],
        num_text_columns=2,
    )
