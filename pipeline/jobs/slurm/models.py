"""The table of the models of a sweep: the states of their jobs, and their errors on held-out trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from pipeline.jobs.slurm.status import Task
from pipeline.runs import records
from pipeline.runs.folder import RunFolder

_COLUMNS = ("model", "seed", "train", "evaluate", "one step", "rollout", "persistence", "report")
#: The path of an error in the headline of an evaluation's record.
_ERRORS = (("surrogate", "one_step"), ("surrogate", "rollout_end"), ("persistence", "rollout_end"))


def table(run: RunFolder, tasks_by_job: Mapping[str, list[Task]]) -> Table | None:
    """Return a table with one row for each model; None for a chain with one model.

    The errors are relative L2 errors on the test split, medians over the trajectories.
    """
    models = [name.removeprefix("train-") for name in tasks_by_job if name.startswith("train-")]
    if not models:
        return None
    rows = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        rows.add_column(column, overflow="fold", justify="left" if column in _TEXTS else "right")
    trainings, evaluations = (_records_by_model(run, stage) for stage in ("train", "evaluate"))
    for model in models:
        states = [_state(tasks_by_job, f"{stage}-{model}") for stage in ("train", "evaluate")]
        configuration = trainings.get(model, {}).get("configuration", {})
        seed = str(configuration.get("training", {}).get("seed", configuration.get("seed", "")))
        # The record of an earlier evaluation says nothing about a new model.
        evaluation = evaluations.get(model, {}) if states[1] == "done" else {}
        report = str(run.with_model(model).report.relative_to(run.path)) if evaluation else ""
        rows.add_row(model, seed, *states, *_errors(evaluation), report)
    return rows


_TEXTS = ("model", "train", "evaluate", "report")


def _state(tasks_by_job: Mapping[str, list[Task]], name: str) -> str:
    tasks = tasks_by_job.get(name, [])
    return tasks[0].state if tasks else ""


def _records_by_model(run: RunFolder, stage: str) -> dict[str, Mapping[str, Any]]:
    """Return the newest record of each model that holds a result, or else the newest record."""
    newest_records: dict[str, Mapping[str, Any]] = {}
    for record in records.of_stage(run.path, stage):
        model = str(record.get("configuration", {}).get("model", ""))
        # An evaluation that was complete before leaves a record without errors.
        if model not in newest_records or not record.get("skipped"):
            newest_records[model] = record
    return newest_records


def _errors(record: Mapping[str, Any]) -> list[str]:
    headline = record.get("headline", {}).get("test", {})
    values = [headline.get(predictor, {}).get(name, {}).get("median") for predictor, name in _ERRORS]
    return ["" if value is None else f"{100 * value:.3g} %" for value in values]
