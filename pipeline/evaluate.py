"""Judges a surrogate on held-out trajectories, beside baselines; writes metrics.json and report.html."""

from __future__ import annotations

import importlib.metadata
import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

import surrogates
from pipeline import cli, compare
from pipeline.config.build import build_recorded_solver, surrogate_type, user_file
from pipeline.config.settings import SPLITS, Settings
from pipeline.data.dataset import Dataset
from pipeline.evaluation import measure, results
from pipeline.evaluation.report import figures, report
from pipeline.parallel import launch
from pipeline.parallel.devices import device_of
from pipeline.problem import problem_of
from pipeline.runs import records
from simsurrogate.errors import UserError
from simsurrogate.files import digest, writable_folder, write_whole
from surrogates.contract import Problem, Surrogate

if TYPE_CHECKING:
    from mpi4py import MPI

JUDGED_SPLITS = tuple(split for split in SPLITS if split.startswith("test"))
# What a model cannot be used without; ranges and durations other than the training's are only told.
_MUST_AGREE = (
    "name",
    "channels",
    "channel_units",
    "coefficient_channels",
    "parameter_names",
    "axis_names",
    "shape",
    "lower",
    "extent",
    "boundaries",
    "boundary_values",
    "autonomous",
)


def run(settings: Settings) -> None:
    """Writes `RUN/models/MODEL/evaluation/`: metrics.json, pictures, and report.html last."""
    communicator = launch.world()
    with records.run_record(settings, "evaluate") as facts:
        dataset = Dataset.open(settings.dataset)
        surrogate = _load(settings)
        _refuse_foreign(surrogate.problem, problem_of(dataset), settings)
        folder = settings.model_folder / "evaluation"
        described = json.loads((settings.model_folder / "model.json").read_text(encoding="utf-8"))
        identity = _identity(settings, dataset, described)
        facts["report"] = str(folder / "report.html")
        first = communicator.rank == 0
        if communicator.bcast(_is_complete(folder, identity) if first else None, root=0):
            facts["skipped"] = True
            if first:
                print(
                    f"evaluate: {folder} is complete for this model and data set; nothing to do", flush=True
                )
            return
        found = _measure(settings, surrogate, dataset, communicator)
        if first:
            _write(
                settings,
                surrogate,
                dataset,
                {"identity": identity, "model": digest(described), **found},
                folder,
            )
            facts["headline"] = {name: split["headline"] for name, split in found["splits"].items()}


def _load(settings: Settings) -> Surrogate:
    folder = settings.model_folder
    if not (folder / "model.json").is_file():
        name = settings.surrogate["name"]
        named = "" if settings.model == name else f" model={settings.model}"
        raise UserError(
            f"{folder} holds no trained model; make it with "
            f"`python -m pipeline.train run={settings.run} surrogate={name}{named}`"
        )
    device = device_of(settings.training.device, launch.detect())
    return surrogates.load(folder, device, path=user_file(settings.surrogate))


def _refuse_foreign(model: Problem, data: Problem, settings: Settings) -> None:
    """Raises UserError where the model answers another question than the data set asks."""
    pairs = {name: (getattr(model.spec, name), getattr(data.spec, name)) for name in _MUST_AGREE}
    pairs["time_step"] = (model.time_step, data.time_step)
    wrong = [
        f"{name}: the model has {ours!r}, the data set {theirs!r}"
        for name, (ours, theirs) in pairs.items()
        if not _agree(ours, theirs)
    ]
    incompatibility = surrogate_type(settings.surrogate).incompatibility(data)
    wrong += [incompatibility] if incompatibility else []
    if wrong:
        raise UserError(
            f"the model in {settings.model_folder} does not fit the data set {settings.dataset}:\n  "
            + "\n  ".join(wrong)
            + "\ntrain on this data set, or name the model's own with dataset="
        )


def _agree(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float):
        return math.isclose(ours, theirs, rel_tol=1e-9)
    if isinstance(ours, tuple):
        return len(ours) == len(theirs) and all(map(_agree, ours, theirs))
    return bool(ours == theirs)


def _identity(settings: Settings, dataset: Dataset, described: dict[str, Any]) -> str:
    """A hash of all that determines the evaluation; `described` is the content of model.json."""
    return digest(
        {
            "model": described,
            "dataset": dataset.identity,
            "evaluation": settings.evaluation.model_dump(mode="json"),
            "version": importlib.metadata.version("simsurrogate"),
        }
    )


def _is_complete(folder: Path, identity: str) -> bool:
    """The report is the last file that an evaluation writes, and the first that it removes."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(metrics.get("identity") == identity) and (folder / "report.html").is_file()


def _measure(
    settings: Settings, surrogate: Surrogate, dataset: Dataset, communicator: MPI.Intracomm
) -> dict[str, Any]:
    """The content of metrics.json on rank 0; without splits on the others."""
    from mpi4py import MPI

    solver = build_recorded_solver(dataset.configuration, settings.solver, MPI.COMM_SELF)
    found: dict[str, Any] = {}
    for split in JUDGED_SPLITS:
        if dataset.num_trajectories(split) == 0:
            continue
        measured = measure.measure(
            surrogate,
            solver,
            dataset,
            split,
            batch_size=settings.evaluation.batch_size,
            communicator=communicator,
        )
        if measured is not None:
            found[split] = results.split_results(measured, dataset)
    return {
        "surrogate": settings.surrogate["name"],
        "dataset": dataset.identity,
        "fields": [field.name for field in dataset.spec.fields],
        "time": np.asarray(dataset.times, dtype=np.float64).tolist(),
        "definitions": results.DEFINITIONS,
        "splits": found,
    }


def _write(
    settings: Settings, surrogate: Surrogate, dataset: Dataset, found: dict[str, Any], folder: Path
) -> None:
    (writable_folder(folder) / "report.html").unlink(missing_ok=True)
    write_whole(folder / "metrics.json", json.dumps(found, indent=1, allow_nan=False))
    shutil.rmtree(folder / "pictures", ignore_errors=True)
    pictures = figures.draw(
        writable_folder(folder / "pictures"), surrogate, dataset, found, settings.evaluation.figures
    )
    write_whole(folder / "report.html", report.render(settings, surrogate, dataset, found, pictures))
    _print(found, folder)


def _print(found: dict[str, Any], folder: Path) -> None:
    console = Console(highlight=False)
    table = Table(title="Relative L2 error, median over the trajectories")
    for column in ("split", "predictor", "one step", "end of roll-out"):
        table.add_column(column, justify="right" if column[0] in "oe" else "left")
    for split, values in found["splits"].items():
        for predictor, headline in values["headline"].items():
            name = found["surrogate"] if predictor == "surrogate" else predictor
            shown = (results.percent(headline[mode]["median"]) for mode in ("one_step", "roll_out_end"))
            table.add_row(split, name, *shown)
        table.add_section()
    console.print(table)
    for split in found["splits"]:
        console.print(results.verdict(found, found["surrogate"], split), soft_wrap=True)
    print(f"report: {folder / 'report.html'}", flush=True)


if __name__ == "__main__":
    cli.main(run, compare.after_sweep)
