"""The page of a comparison: errors, times and verdicts of all models, with CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.evaluation.comparison.models import ComparedModel
from pipeline.evaluation.report.page.page import Page, render_page
from pipeline.evaluation.report.part import PartFigure, PartTable, ReportPart
from pipeline.evaluation.schema import BASELINES
from pipeline.evaluation.words import interval_text, percent, predictor_name
from pipeline.evaluation.worth_words import duration, ratio_text
from pipeline.plots.curves import draw_errors
from pipeline.plots.models import ModelPoint, draw_model_errors, draw_model_times
from pipeline.plots.saving import save
from simsurrogate.files import writable_folder, write_whole
from simsurrogate.owned_files import delete_files

#: The largest number of models in a figure of errors over time.
_MAX_CURVES = 8


def write(folder: Path, models: Sequence[ComparedModel]) -> Path:
    """Write models.csv, models.json, figures and, last, comparison.html; return the path of the page."""
    page_path = writable_folder(folder) / "comparison.html"
    page_path.unlink(missing_ok=True)
    figure_folder = folder / "figures"
    delete_files(figure_folder, r"[A-Za-z0-9_-]+\.svg")
    rows = [model.numbers() for model in models]
    write_whole(folder / "models.json", json.dumps({"models": rows}, indent=1, allow_nan=False) + "\n")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / "models.csv", text.getvalue())
    write_whole(page_path, _render(writable_folder(figure_folder), models))
    return page_path


def _render(figure_folder: Path, models: Sequence[ComparedModel]) -> str:
    """Draw the figures and return the page."""
    evaluated = [model for model in models if model.metrics is not None]
    groups: dict[str, list[ComparedModel]] = {}
    for model in evaluated:
        if model.metrics:
            groups.setdefault(model.metrics.dataset, []).append(model)
    parts = [_errors_part(figure_folder, groups)] if evaluated else []
    if any(model.metrics and model.metrics.worth for model in evaluated):
        parts.append(_times_part(figure_folder, evaluated))
    for number, (dataset, shown) in enumerate(groups.items()):
        parts.append(_curves_part(figure_folder, number, dataset, shown))
    parts.insert(min(1, len(parts)), _table_part(models))
    return render_page(
        Page(
            title=f"Comparison of {len(models)} models" if len(models) > 1 else "Comparison of one model",
            level=None,
            verdict="",
            conclusion=_conclusion(groups),
            warnings=[f"{model.name}: {model.row.remark}." for model in models if model.row.remark],
            parts=parts,
        )
    )


def _conclusion(groups: Mapping[str, Sequence[ComparedModel]]) -> str:
    """Return the sentences on the most accurate model of each data set."""
    sentences = []
    for dataset, models in groups.items():
        meaningful = [
            model
            for model in models
            if model.row.rollout_end is not None and not model.row.has_vanished_fields
        ]
        if meaningful:
            name = f"Data set {dataset[:12]} ({_problem(models[0])}): " if len(groups) > 1 else ""
            sentences.append(name + _ranking(meaningful))
    if not sentences:
        return "No model is evaluated with a meaningful error at the end of the rollout."
    if len(groups) > 1:
        sentences.append("Errors on different data sets do not rank models.")
    return " ".join(sentences)


def _ranking(models: Sequence[ComparedModel]) -> str:
    """Return the most accurate model of one data set, and whether the trajectories decide that it is."""
    best, *others = sorted(models, key=lambda model: model.row.rollout_end or 0.0)
    verdict = f" Its verdict: {best.verdict.words}." if best.verdict else ""
    text = f"The smallest median error at the end of the rollout is that of {_with_error(best)}.{verdict}"
    if not others:
        return text
    second = others[0]
    text += f" Next is {_with_error(second)}."
    if best.interval is None or second.interval is None:
        return text
    best_high, second_low = (
        math.inf if end is None else end for end in (best.interval.high, second.interval.low)
    )
    if second_low <= best_high:
        return f"{text} The two intervals overlap: the test trajectories do not decide which one is better."
    return f"{text} The two intervals do not overlap."


def _with_error(model: ComparedModel) -> str:
    """Return the name of a model with its error and the interval of the error."""
    interval = f" (95 % interval {interval_text(model.interval)})" if model.interval else ""
    return f"{model.name}, {percent(model.row.rollout_end)}{interval}"


def _problem(model: ComparedModel) -> str:
    """Return the problem of a model as people say it."""
    return model.title.partition(" for ")[2]


def _errors_part(figure_folder: Path, groups: Mapping[str, Sequence[ComparedModel]]) -> ReportPart:
    """Return the part with the errors of all models at the end of the rollout, a figure for each data set."""
    figures = []
    for number, (dataset, models) in enumerate(groups.items()):
        points = []
        for model in models:
            summary = model.metrics.splits["test"].headline if model.metrics else {}
            if "surrogate" in summary and not model.row.has_vanished_fields:
                own, persistence = summary["surrogate"].rollout_end, summary["persistence"].rollout_end
                points.append(ModelPoint(model.name, own.median, own.q10, own.q90, persistence.median))
        if points:
            path = save(draw_model_errors(points), figure_folder / f"errors-{number}.svg")
            caption = (
                f"Relative L2 error at the end of the rollout, data set {dataset[:12]}: median (dot), 10 to "
                "90 % of the test trajectories (line), and persistence (grey bar)."
            )
            figures.append(PartFigure(path, caption))
    return ReportPart("errors", "Errors at the end of the rollout", figures=figures)


def _times_part(figure_folder: Path, models: Sequence[ComparedModel]) -> ReportPart:
    """Return the part with the times of queries and the speed-ups."""
    points, rows = [], []
    for model in models:
        worth = model.metrics.worth if model.metrics else None
        if worth is None:
            continue
        times = worth.surrogate
        points.append((model.name, times.query_seconds, times.batch_seconds, times.error))
        rows.append(
            (
                model.name,
                percent(times.error),
                duration(times.query_seconds),
                duration(times.batch_seconds),
                ratio_text(worth.speed_up.median),
                ratio_text(worth.batch_speed_up.median),
            )
        )
    path = save(draw_model_times(points), figure_folder / "times.svg")
    headings = (
        "", "error", "time of a query", "time in a batch", "speed-up at equal error", "speed-up in a batch"
    )  # fmt: skip
    return ReportPart(
        "times",
        "Time and error",
        figures=[
            PartFigure(path, "Time of a query (star) and of a query in a batch (diamond), with the error.")
        ],
        tables=[
            PartTable("Times on one thread, and the solver at equal error", headings, rows, is_open=True)
        ],
    )


def _curves_part(
    figure_folder: Path, number: int, dataset: str, models: Sequence[ComparedModel]
) -> ReportPart:
    """Return the part with the errors over time of the models of one data set."""
    ranked = sorted(models, key=lambda model: (model.row.rollout_end is None, model.row.rollout_end or 0.0))
    shown = [(model, model.metrics) for model in ranked[:_MAX_CURVES] if model.metrics]
    figures = []
    for field in dict.fromkeys(field for _, metrics in shown for field in metrics.fields):
        curves = {
            model.name: metrics.splits["test"].errors["surrogate"]["rollout"]["relative_l2"][field]
            for model, metrics in shown
            if field in metrics.fields and "test" in metrics.splits
        }
        if not curves:
            continue
        words = field.replace("_", " ")
        figure = draw_errors(curves, shown[0][1].time[1:], {}, f"{words}: rollout")
        path = save(figure, figure_folder / f"curves-{number}-{field}.svg")
        caption = f"Relative L2 error of {words} over time: median (line), 10 to 90 % (band)."
        figures.append(PartFigure(path, caption))
    problem = _problem(shown[0][0])
    sentences = [f"Data set: {dataset}."]
    if len(models) > len(shown):
        sentences.append(f"The figures show the {len(shown)} models with the smallest errors.")
    title = f"Errors over time: {problem}"
    return ReportPart(f"curves-{number}", title, sentences=sentences, figures=figures)


def _table_part(models: Sequence[ComparedModel]) -> ReportPart:
    """Return the part with a row for each model."""
    rows = []
    for model in models:
        cells = dict(zip(("run", "model", *_COLUMNS), model.row.cells(), strict=False))
        verdict = model.verdict.words if model.verdict else "not evaluated"
        rows.append((model.name, model.title, verdict, *(cells[column] for column in _COLUMNS)))
    table = PartTable(
        "Relative L2 errors on the test split, median over the trajectories",
        ("", "surrogate", "verdict", *_COLUMNS),
        rows,
        num_text_columns=3,
        is_open=True,
    )
    sentence = "models.csv and models.json next to this page hold all numbers."
    return ReportPart("models", "Models", sentences=[sentence], tables=[table, _trust_table(models)])


def _trust_table(models: Sequence[ComparedModel]) -> PartTable:
    """Return the intervals, the error of the data, the baselines and the coverage of each model."""
    names = ("data_error_median", *(f"{name}_error_median" for name in BASELINES))
    rows = []
    for model in models:
        numbers = model.numbers()
        rows.append(
            (
                model.name,
                "" if model.interval is None else interval_text(model.interval),
                *(
                    "" if (value := numbers[name]) is None else percent(value)
                    for name in (*names, "coverage_90_marginal", "coverage_90_joint")
                ),
            )
        )
    headings = (
        "", "95 % interval", "error of the data", *(predictor_name(name, "") for name in BASELINES),
        "values in 90 % intervals", "trajectories in joint 90 % intervals",
    )  # fmt: skip
    return PartTable(
        "End of the rollout: interval of the median error, error of the data, errors of the baselines, and "
        "coverage of the intervals",
        headings,
        rows,
    )


#: The columns of the table in the terminal that the page repeats.
_COLUMNS = ("weights", "training", "core-seconds", "one step", "rollout", "persistence")
