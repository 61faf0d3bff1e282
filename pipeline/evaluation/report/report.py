"""The report: one HTML file that needs nothing else and runs no script."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from pipeline.config.settings import SPLITS, Settings
from pipeline.evaluation.measure import MODES, PREDICTORS
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.report.figures import Picture
from pipeline.evaluation.results import against, number, percent, verdict
from pipeline.plots.comparison import chosen_frames
from pipeline.runs import provenance

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from surrogates.contract import Surrogate

_SPLITS = {"test": "Held-out trajectories", "test_extrapolation": "Out of the training range"}
_MODES = {"one_step": "One step", "roll_out": "Roll-out"}
_METRICS = {"relative_l2": "relative L2", "nrmse": "nRMSE"}


def render(
    settings: Settings,
    surrogate: Surrogate,
    dataset: Dataset,
    results: dict[str, Any],
    pictures: list[Picture],
) -> str:
    """The report as HTML; `results` is the content of metrics.json."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "uri": _data_uri,
        "words": lambda name: name.replace("_", " "),
        "duration": _duration,
    }
    template = environment.from_string(
        files("pipeline.evaluation.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    name = results["surrogate"]
    return template.render(
        surrogate=name,
        spec=dataset.spec,
        splits=[_split(results, dataset, split, pictures) for split in results["splits"]],
        training_pictures=[picture for picture in pictures if picture.section == "training"],
        definitions=results["definitions"],
        time=results["time"],
        made=_made(settings, surrogate, dataset),
        warnings=_warnings(settings, surrogate, dataset, results),
        commands=provenance.commands(settings.dataset.parent, settings.run, settings.model),
    )


def _split(results: dict[str, Any], dataset: Dataset, split: str, pictures: list[Picture]) -> dict[str, Any]:
    found = results["splits"][split]
    headline = found["headline"]
    ours = headline["surrogate"]["roll_out_end"]["median"]
    frames = [frame - 1 for frame in chosen_frames(len(results["time"]))]
    return {
        "title": _SPLITS.get(split, split),
        "verdict": verdict(results, results["surrogate"], split),
        "figures": [
            (percent(ours), "relative L2 at the end of the roll-out, median"),
            (percent(headline["surrogate"]["one_step"]["median"]), "relative L2 of one step, median"),
            *(
                (
                    against(ours, headline[other]["roll_out_end"]["median"]),
                    f"{words} at the end of the roll-out",
                )
                for other, words in (("persistence", "persistence"), ("mean", "the training mean"))
            ),
            *_spread(found),
        ],
        "trajectories": found["trajectories"],
        "headline": [
            (
                _predictor(results, predictor),
                percent(headline[predictor]["one_step"]["median"]),
                *(
                    percent(headline[predictor]["roll_out_end"][key])
                    for key in ("median", "mean", "q90", "max")
                ),
            )
            for predictor in PREDICTORS
        ],
        "tables": [
            {
                "caption": f"{_MODES[mode]}, {_METRICS[metric]}, median over the trajectories",
                "times": [f"{results['time'][frame + 1]:.3g} s" for frame in frames],
                "rows": _rows(results, found, mode, metric, frames),
            }
            for mode in reversed(MODES)
            for metric in METRICS
        ],
        "invariants": _invariants(found, dataset),
        "pictures": [picture for picture in pictures if picture.section == split],
    }


def _spread(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Figures of an ensemble's spread, with words; none of one model."""
    if "spread" not in found:
        return []
    one = found["spread"]
    return [
        (percent(one["roll_out_end"]["median"]), f"spread of {one['members']} members there, median"),
        (number(one["over_error"]), "spread over error; 1 is calibrated"),
        (number(one["error_correlation"]), "rank correlation of spread and error over the trajectories"),
    ]


def _rows(
    results: dict[str, Any], found: dict[str, Any], mode: str, metric: str, frames: list[int]
) -> list[tuple[str, str, list[str]]]:
    """Field, predictor, and the error at each of the frames."""
    return [
        (
            field,
            _predictor(results, predictor),
            [number(found["errors"][predictor][mode][metric][field]["median"][frame]) for frame in frames],
        )
        for field in results["fields"]
        for predictor in PREDICTORS
    ]


def _invariants(found: dict[str, Any], dataset: Dataset) -> list[tuple[str, str, list[str]]]:
    """Name, unit, and the size of each invariant with its error at the end of the roll-out."""
    return [
        (
            quantity.name,
            quantity.unit,
            [
                number(one["size"]),
                *(number(one["error"][key][-1]) for key in ("median", "mean", "q90", "max")),
            ],
        )
        for quantity in dataset.spec.invariants
        for one in [found["invariants"][quantity.name]]
    ]


def _made(settings: Settings, surrogate: Surrogate, dataset: Dataset) -> dict[str, Any]:
    """How the model and its data were made, from model.json and the records of the training."""
    trainings = provenance.records(settings.run, "train", settings.model)
    training = provenance.last_working(trainings)
    model = _model(settings)
    return {
        "options": model["options"],
        "num_parameters": sum(parameter.numel() for parameter in surrogate.parameters()),
        "training": model["configuration"]["training"],
        "best_step": model["step"] if isinstance(model["step"], int) else ", ".join(map(str, model["step"])),
        "valid_error": percent(model["valid_error"]),
        "training_seconds": provenance.seconds(trainings),
        "training_ranks": training["ranks"] if training else None,
        "seed": model["configuration"]["seed"],
        "dataset": dataset.identity,
        "trajectories": {split: dataset.num_trajectories(split) for split in SPLITS},
        "versions": training["versions"] if training else model["versions"],
        "mpi_library": training["mpi_library"] if training else None,
    }


def _warnings(
    settings: Settings, surrogate: Surrogate, dataset: Dataset, results: dict[str, Any]
) -> list[str]:
    """What a reader must know before trusting the numbers."""
    problem, warnings = surrogate.problem, []
    origin = _model(settings)["configuration"]["dataset"]
    if origin != dataset.identity:
        warnings.append(f"The model was trained on another data set, {origin}.")
    for name, trained, tested in zip(
        problem.spec.parameter_names,
        problem.spec.parameter_ranges,
        dataset.spec.parameter_ranges,
        strict=True,
    ):
        if tuple(trained) != tested:
            warnings.append(
                f"{name} was trained on {trained[0]:g} to {trained[1]:g}; "
                f"this data set has {tested[0]:g} to {tested[1]:g}."
            )
    duration = float(dataset.times[-1] - dataset.times[0])
    if duration > problem.duration * (1 + 1e-9):
        warnings.append(f"The model saw trajectories of {problem.duration:g} s; these last {duration:g} s.")
    warnings += [
        f"The split {split} has {found['trajectories']} trajectories: its numbers are rough."
        for split, found in results["splits"].items()
        if found["trajectories"] < 8
    ]
    return warnings


def _model(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((settings.model_folder / "model.json").read_text(encoding="utf-8"))
    return found


def _predictor(results: dict[str, Any], predictor: str) -> str:
    return str(results["surrogate"]) if predictor == "surrogate" else predictor


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
