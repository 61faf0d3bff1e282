"""The report: a single HTML file that needs no other files or scripts."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from pipeline.data.plan import SPLITS
from pipeline.evaluation import other_grids
from pipeline.evaluation.report.figures import ReportFigure
from pipeline.evaluation.report.warnings import report_warnings
from pipeline.evaluation.report.worth_section import worth_section
from pipeline.evaluation.schema import MODES, Metric, Metrics, Mode, Predictor, SplitResult
from pipeline.evaluation.words import comparison, end_percent, number_text, percent, verdict
from pipeline.plots.comparison import chosen_frames
from pipeline.runs import provenance
from pipeline.runs.cost import Cost
from surrogates import store

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from pipeline.runs.folder import RunFolder
    from simsurrogate.spec import Spec
    from surrogates.contract import Surrogate

_SPLIT_TITLES = {"test": "Held-out trajectories", "test_extrapolation": "Outside the training range"}
_MODE_NAMES: dict[Mode, str] = {"one_step": "One step", "rollout": "Rollout"}
_METRIC_NAMES: dict[Metric, str] = {"relative_l2": "relative L2", "nrmse": "nRMSE"}


@dataclass(frozen=True)
class _Table:
    """A table of errors: `rows` holds field, predictor, and the error at each of the `times`."""

    caption: str
    times: list[str]
    rows: list[tuple[str, str, list[str]]]


@dataclass(frozen=True)
class _Section:
    """The section of one split."""

    title: str
    verdict: str
    highlights: list[tuple[str, str]]
    trajectories: int
    headline: list[tuple[str, ...]]
    predictability: list[tuple[str, ...]]
    tables: list[_Table]
    invariants: list[tuple[str, str, list[str]]]
    figures: list[ReportFigure]


@dataclass(frozen=True)
class _Origin:
    """The origin of a model and its data."""

    options: Mapping[str, object]
    num_parameters: int
    training: Mapping[str, object]
    lineage: list[str]
    best_step: str
    valid_error: str
    training_seconds: float
    training_ranks: int | None
    data_cost: Cost
    training_cost: Cost
    seed: int
    dataset: str
    trajectories: dict[str, int]
    versions: Mapping[str, str]
    mpi_library: str | None


def render(
    folder: RunFolder,
    surrogate: Surrogate,
    dataset: Dataset,
    metrics: Metrics,
    figures: Sequence[ReportFigure],
) -> str:
    """Return the report as HTML."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "uri": _data_uri,
        "words": lambda name: name.replace("_", " "),
        "duration": _duration_text,
    }
    template = environment.from_string(
        files("pipeline.evaluation.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    return template.render(
        surrogate=metrics.surrogate,
        spec=dataset.spec,
        splits=[_section(metrics, dataset.spec, split, figures) for split in metrics.splits],
        other_grids=other_grids.rows(metrics, dataset.spec.shape),
        grid_headings=other_grids.HEADINGS,
        worth=worth_section(metrics.worth, metrics.surrogate, folder),
        worth_figures=[figure for figure in figures if figure.section == "worth"],
        training_figures=[figure for figure in figures if figure.section == "training"],
        definitions=metrics.definitions,
        time=metrics.time,
        origin=_origin(folder, surrogate, dataset),
        warnings=report_warnings(folder, surrogate, dataset, metrics),
        commands=provenance.commands(folder.dataset.parent, folder.path, folder.model),
    )


def _section(metrics: Metrics, spec: Spec, split: str, figures: Sequence[ReportFigure]) -> _Section:
    result = metrics.splits[split]
    headline = result.headline
    error = headline["surrogate"].rollout_end.median
    baselines: tuple[tuple[Predictor, str], ...] = (
        ("persistence", "persistence"),
        ("mean", "the training mean"),
        ("linear", "the linear solution"),
    )
    return _Section(
        title=_SPLIT_TITLES.get(split, split),
        verdict=verdict(metrics, split),
        highlights=[
            (end_percent(result, error), "relative L2 at the end of the rollout, median"),
            (percent(headline["surrogate"].one_step.median), "relative L2 of one step, median"),
            *(
                (
                    comparison(error, headline[baseline].rollout_end.median),
                    f"{name} at the end of the rollout",
                )
                for baseline, name in baselines
                if baseline in headline and not result.vanished_fields
            ),
            *_spread_highlights(result),
        ],
        trajectories=result.trajectories,
        headline=[
            (
                _predictor_name(metrics, predictor),
                percent(headline[predictor].one_step.median),
                end_percent(result, headline[predictor].rollout_end.median),
                end_percent(result, headline[predictor].rollout_end.mean),
                end_percent(result, headline[predictor].rollout_end.q90),
                end_percent(result, headline[predictor].rollout_end.max),
            )
            for predictor in headline
        ],
        predictability=_predictability_rows(metrics, result),
        tables=[
            _table(metrics, result, mode, metric) for mode in reversed(MODES) for metric in _METRIC_NAMES
        ],
        invariants=_invariant_rows(result, spec),
        figures=[figure for figure in figures if figure.section == split],
    )


def _spread_highlights(result: SplitResult) -> list[tuple[str, str]]:
    """Return the values of an ensemble's spread with captions; empty for a single model."""
    spread = result.ensemble_spread
    if spread is None:
        return []
    return [
        (
            percent(spread.rollout_end.median),
            f"spread of {spread.members} members at the end of the rollout, median",
        ),
        (
            number_text(spread.ratio_to_error),
            "spread over error; 1: the spread matches the error; below 1: the ensemble is overconfident",
        ),
        (number_text(spread.error_correlation), "rank correlation of spread and error over the trajectories"),
    ]


def _predictability_rows(metrics: Metrics, result: SplitResult) -> list[tuple[str, ...]]:
    """Return each predictor's errors inside and beyond the predictable time; empty without such a time."""
    if result.predictability is None:
        return []
    inside, beyond = result.predictability.inside, result.predictability.beyond
    return [
        (
            _predictor_name(metrics, predictor),
            *(
                percent(value) if errors else "no trajectory"
                for errors in (inside, beyond)
                for value in ((errors[predictor].median, errors[predictor].max) if errors else (None, None))
            ),
        )
        for predictor in result.headline
    ]


def _table(metrics: Metrics, result: SplitResult, mode: Mode, metric: Metric) -> _Table:
    """Return the errors of one mode and metric at a few times."""
    frames = [frame - 1 for frame in chosen_frames(len(metrics.time))]
    return _Table(
        caption=f"{_MODE_NAMES[mode]}, {_METRIC_NAMES[metric]}, median over the trajectories",
        times=[f"{metrics.time[frame + 1]:.3g} s" for frame in frames],
        rows=[
            (
                field,
                _predictor_name(metrics, predictor),
                [
                    number_text(result.errors[predictor][mode][metric][field].median[frame])
                    if result.is_meaningful(metric, field, frame)
                    else "not meaningful"
                    for frame in frames
                ],
            )
            for field in metrics.fields
            for predictor in result.errors
        ],
    )


def _invariant_rows(result: SplitResult, spec: Spec) -> list[tuple[str, str, list[str]]]:
    """Return name and unit of each invariant, with its size and its error at the end of the rollout."""
    rows = []
    for quantity in spec.frame_invariants:
        invariant = result.invariants[quantity.name]
        error = invariant.error
        end_values = (error.median[-1], error.mean[-1], error.q90[-1], error.max[-1])
        rows.append(
            (quantity.name, quantity.unit, [number_text(value) for value in (invariant.size, *end_values)])
        )
    return rows


def _origin(folder: RunFolder, surrogate: Surrogate, dataset: Dataset) -> _Origin:
    """Return the origin of the model, from model.json and the records of the training."""
    training_attempts = provenance.attempts(folder.path, "train", folder.model)
    last_training = provenance.last_complete_attempt(training_attempts)
    data_run = folder.dataset.parent
    data_attempts = [*provenance.attempts(data_run, "generate"), *provenance.attempts(data_run, "validate")]
    model = store.description(folder.model_folder)
    step = model["step"]
    return _Origin(
        options=model["options"],
        num_parameters=sum(parameter.numel() for parameter in surrogate.parameters()),
        training=model["configuration"]["training"],
        lineage=_lineage(model["configuration"]),
        best_step=str(step) if isinstance(step, int) else ", ".join(map(str, step)),
        valid_error=percent(model["valid_error"]),
        training_seconds=provenance.seconds(training_attempts),
        training_ranks=last_training.ranks if last_training else None,
        data_cost=provenance.cost_of(data_attempts),
        training_cost=provenance.cost_of(training_attempts),
        seed=model["configuration"]["seed"],
        dataset=dataset.identity,
        trajectories={split: dataset.num_trajectories(split) for split in SPLITS},
        versions=last_training.versions if last_training else model["versions"],
        mpi_library=last_training.mpi_library if last_training else None,
    )


def _lineage(configuration: Mapping[str, Any]) -> list[str]:
    """Return the models from whose weights a training started, and the steps after which it was raised."""
    texts = [
        f"started from the weights {str(entry['weights_sha256'])[:12]} ({entry['steps']} steps, seed "
        f"{entry['seed']}, data set {str(entry['dataset'])[:12]})"
        for entry in reversed(configuration.get("lineage", []))
    ]
    if history := configuration.get("continued_after"):
        texts.insert(0, f"continued after step {', '.join(map(str, history))}")
    return texts


def _predictor_name(metrics: Metrics, predictor: Predictor) -> str:
    return metrics.surrogate if predictor == "surrogate" else predictor


def _duration_text(seconds: float) -> str:
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes} min {remainder} s" if minutes else f"{remainder} s"


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
