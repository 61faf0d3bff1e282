"""The models of a comparison, with their evaluations."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.config.titles import problem_title, title_of
from pipeline.evaluation import schema
from pipeline.evaluation.model_table import Row, rows_of
from pipeline.evaluation.report.verdict import Verdict, verdict_of
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError
from surrogates import store
from surrogates.description import recorded_problem

if TYPE_CHECKING:
    from pipeline.evaluation.metrics.bootstrap import Interval
    from pipeline.evaluation.schema import Metrics, Summary


@dataclass(frozen=True)
class ComparedModel:
    """A model of a run.

    Attributes:
        row: the row of the model in the table of the terminal.
        title: the surrogate and the problem as people say them; empty for a model that was not trained.
        metrics: the evaluation; None for a model that is not evaluated, or was trained again since.
        verdict: the verdict of the evaluation.
    """

    row: Row
    title: str = ""
    metrics: Metrics | None = None
    verdict: Verdict | None = None

    @property
    def name(self) -> str:
        """The run and the model: `heat/fno`."""
        return f"{self.row.run}/{self.row.model}"

    @property
    def interval(self) -> Interval | None:
        """The bootstrap interval of the median error at the end of the rollout, if it is known."""
        headline = _headline(self.metrics, "surrogate")
        return headline.rollout_end_interval if headline else None

    def numbers(self) -> dict[str, Any]:
        """Return the numbers by name, with units in the names; null for what was not measured."""
        row, metrics = self.row, self.metrics
        numbers: dict[str, Any] = {
            "run": row.run,
            "model": row.model,
            "title": self.title,
            "dataset": metrics.dataset if metrics else None,
            "verdict": self.verdict.words if self.verdict else None,
            "num_parameters": row.num_parameters,
            "training_seconds": row.seconds,
            "training_core_seconds": row.core_seconds,
            "training_ranks": row.ranks,
        }
        for name in ("one_step", "rollout_end"):
            numbers |= _statistics(f"{name}_error", getattr(_headline(metrics, "surrogate"), name, None))
        interval = self.interval
        numbers |= {
            "rollout_end_error_interval_low": interval.low if interval else None,
            "rollout_end_error_interval_high": interval.high if interval else None,
        }
        for baseline in schema.BASELINES:
            headline = _headline(metrics, baseline)
            numbers[f"{baseline}_error_median"] = headline.rollout_end.median if headline else None
        intervals = metrics.intervals if metrics else None
        coverage = intervals.splits["test"].at(0.9) if intervals and "test" in intervals.splits else None
        numbers |= {
            "coverage_90_marginal": coverage.marginal if coverage else None,
            "coverage_90_joint": coverage.joint if coverage else None,
            "data_error_median": _data_error(metrics, "median"),
            "data_error_worst": _data_error(metrics, "worst"),
        }
        worth = metrics.worth if metrics else None
        numbers |= {
            "query_seconds": worth.surrogate.query_seconds if worth else None,
            "batch_query_seconds": worth.surrogate.batch_seconds if worth else None,
            "speed_up_at_equal_error": worth.speed_up.median if worth else None,
            "batch_speed_up_at_equal_error": worth.batch_speed_up.median if worth else None,
            "break_even_queries": worth.break_even.queries if worth else None,
            "remark": row.remark,
        }
        return numbers


def compared_models(run_folders: list[Path]) -> list[ComparedModel]:
    """Return the models of all run folders.

    Raises:
        UserError: a folder holds no run, or a run without a model.
    """
    return [_model(folder, row) for folder in run_folders for row in rows_of(folder)]


def _model(run: Path, row: Row) -> ComparedModel:
    """Return a model with its evaluation, if the evaluation is of this model."""
    folder = RunFolder.at(run).with_model(row.model)
    if row.num_parameters is None:
        return ComparedModel(row)
    description = store.description(folder.model_folder)
    spec = recorded_problem(description).spec
    title = f"{title_of('surrogate', description['surrogate'])} for {problem_title(spec.name, spec)}"
    if row.persistence is None:
        return ComparedModel(row, title)
    with suppress(UserError):
        metrics = schema.read(folder.evaluation / "metrics.json")
        return ComparedModel(row, title, metrics, verdict_of(metrics))
    return ComparedModel(row, title)


def _headline(metrics: Metrics | None, predictor: schema.Predictor) -> schema.Headline | None:
    """Return the headline errors of a predictor on the split test."""
    if metrics is None or "test" not in metrics.splits:
        return None
    return metrics.splits["test"].headline.get(predictor)


def _data_error(metrics: Metrics | None, name: Literal["median", "worst"]) -> float | None:
    """Return the error of the data of the split test at its last known frame, mean over the fields."""
    fields = metrics.data_errors.get("test", {}).values() if metrics else ()
    errors = [getattr(error, name)[error.last_frame] for error in fields]
    return float(np.mean(errors)) if errors and None not in errors else None


def _statistics(name: str, summary: Summary | None) -> dict[str, float | None]:
    """Return the statistics of an error by name."""
    names = ("median", "q10", "q90", "max")
    return {f"{name}_{key}": getattr(summary, key) if summary else None for key in names}
