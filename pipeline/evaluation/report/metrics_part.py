"""The part of the report on the metrics of each field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.evaluation.report.part import PartTable, ReportPart
from pipeline.evaluation.words import number_text, percent, predictor_name
from pipeline.plots.labels import unit_words

if TYPE_CHECKING:
    from pipeline.evaluation.schema import Metrics, SplitResult

#: The names of the metrics in tables and sentences.
METRIC_WORDS = {
    "rmse": "RMSE",
    "max_error": "largest error",
    "mean_error": "error of the mean",
    "boundary_rmse": "RMSE at the boundary",
    "rmse_low": "RMSE, low wave numbers",
    "rmse_middle": "RMSE, middle wave numbers",
    "rmse_high": "RMSE, high wave numbers",
    "fluctuation_energy_ratio": "fluctuation energy over truth",
    "correlation": "correlation with truth",
    "divergence": "divergence over gradient",
    "spectra": "energy spectra",
    "lyapunov": "Lyapunov time",
    "crps": "CRPS, spread and skill",
    "seeds": "spread over seeds",
}


def metrics_part(metrics: Metrics, split: str) -> ReportPart:
    """Return the metrics of a split at the end of the rollout: sentences, and a table for each field."""
    result = metrics.splits[split]
    sentences = [
        *_horizon_sentences(metrics, result),
        *_drift_sentences(result),
        *_probability_sentences(result),
        *_seed_sentences(result),
        *_skipped_sentences(result),
    ]
    tables = [
        _table(metrics, result, field)
        for field in metrics.fields
        if any(field in results for results in result.metrics.values())
    ]
    return ReportPart("metrics", "Errors in the units of the fields", sentences, tables=tables)


def _skipped_sentences(result: SplitResult) -> list[str]:
    """Return one sentence for each reason, with all metrics that the reason excludes."""
    names_by_reason: dict[str, list[str]] = {}
    for name, reason in result.skipped.items():
        names_by_reason.setdefault(reason, []).append(_words(name))
    return [f"Not measured: {', '.join(names)}. {reason}" for reason, names in names_by_reason.items()]


def _words(name: str) -> str:
    return METRIC_WORDS.get(name, name.replace("_", " "))


def _table(metrics: Metrics, result: SplitResult, field: str) -> PartTable:
    """Return the metrics of one field as rows, with a column for the surrogate and each baseline."""
    predictors = list(result.headline)
    rows = []
    for metric, by_field in result.metrics.items():
        if field not in by_field:
            continue
        values, unit = by_field[field].rollout_end, unit_words(by_field[field].unit)
        cells = [
            f"{number_text(values[name].median)} {unit}".rstrip() if name in values else ""
            for name in predictors
        ]
        rows.append((_words(metric), *cells))
    return PartTable(
        f"{field.replace('_', ' ').capitalize()} at t = {metrics.time[-1]:.3g} s: medians over "
        f"{result.trajectories} trajectories",
        ("metric", *(predictor_name(name, metrics.surrogate) for name in predictors)),
        rows,
    )


def _horizon_sentences(metrics: Metrics, result: SplitResult) -> list[str]:
    if result.horizon is None:
        return []
    criterion = (
        f"correlate with the truth by at least {result.horizon.level:g}"
        if result.horizon.criterion == "correlation"
        else f"have positions with an error of at most {result.horizon.level:g} of the size of the system"
    )
    own = result.horizon.times["surrogate"]
    if 2 * own.complete >= result.trajectories:
        duration = (
            f"to the end, t = {metrics.time[-1]:.3g} s, in {own.complete} of {result.trajectories} cases"
        )
    else:
        duration = f"until t = {number_text(own.time.median)} s (median)"
    sentences = [f"The rollouts of {metrics.surrogate} {criterion} {duration}."]
    lyapunov = result.horizon.lyapunov
    if lyapunov is not None and lyapunov.time is not None:
        horizon = lyapunov.horizon["surrogate"]
        bound = "at least " if 2 * own.complete >= result.trajectories else ""
        sentences.append(
            f"The solver's Lyapunov time is {number_text(lyapunov.time)} s ({lyapunov.trajectories} "
            f"trajectories): the rollouts are useful for {bound}{number_text(horizon)} Lyapunov times "
            "(median)."
        )
    elif lyapunov is not None:
        sentences.append(
            "Nearby trajectories of the solver do not separate exponentially within the duration of the "
            "data, so there is no Lyapunov time."
        )
    return sentences


def _drift_sentences(result: SplitResult) -> list[str]:
    if not result.energy_drift:
        return []
    surrogate, truth = (result.energy_drift[name].median[-1] for name in ("surrogate", "truth"))
    return [
        f"The energy of the rollouts differs by {percent(surrogate)} from that of the first frame at the end "
        f"(median), and the energy of the data by {percent(truth)}."
    ]


def _probability_sentences(result: SplitResult) -> list[str]:
    sentences = []
    for field, scores in result.probability.items():
        unit = unit_words(scores.unit)
        crps, error = (
            f"{number_text(series.median[-1])} {unit}".rstrip()
            for series in (scores.crps, scores.absolute_error)
        )
        sentences.append(
            f"{field.replace('_', ' ').capitalize()}: the CRPS is {crps} at the end of the rollout, next to "
            f"{error} for the mean alone (medians); spread over skill is {number_text(scores.ratio[-1])} (1: "
            "calibrated; below 1: overconfident)."
        )
    return sentences


def _seed_sentences(result: SplitResult) -> list[str]:
    if result.seeds is None:
        return []
    return [
        f"The {len(result.seeds.rollout_end)} members, trained with different seeds, end with a mean error "
        f"of {percent(result.seeds.mean)} and a standard deviation of "
        f"{percent(result.seeds.standard_deviation)} (relative L2, medians over the trajectories): smaller "
        "differences between models are within the noise of training."
    ]
