"""The evaluate stage: a comparison of a surrogate with baselines on held-out trajectories, in report.html."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from pipeline import cli
from pipeline.config import agreement, sizes
from pipeline.config.settings import Settings
from pipeline.config.solver_of_data import added_solver, solver_of_data
from pipeline.data.dataset import Dataset
from pipeline.data.lineage import guard
from pipeline.data.plan import SPLITS
from pipeline.evaluation import measure, other_grids, results, schema, trained_model, words
from pipeline.evaluation.baselines import fits
from pipeline.evaluation.baselines.linear_map import LinearBaseline
from pipeline.evaluation.baselines.untrained import missing_linear_solution
from pipeline.evaluation.error_table import error_table
from pipeline.evaluation.intervals import attribution, coverage
from pipeline.evaluation.intervals.calibrate import model_calibration
from pipeline.evaluation.intervals.residuals import HeldOut
from pipeline.evaluation.intervals.words import confidence_sentences, interval_sentences
from pipeline.evaluation.mixture import sources
from pipeline.evaluation.mlperf.record import write_training_log
from pipeline.evaluation.model_card import card as model_card
from pipeline.evaluation.model_table import show_sweep
from pipeline.evaluation.model_worth import worth_of_model
from pipeline.evaluation.report import report
from pipeline.evaluation.report.context import ReportContext, chosen_trajectories
from pipeline.evaluation.report.data_error import data_errors
from pipeline.evaluation.report.warnings import report_warnings
from pipeline.evaluation.worth_words import worth_verdict
from pipeline.parallel import heartbeats, launch
from pipeline.parallel.devices import device_of, unused_gpus
from pipeline.parallel.equal_configurations import refuse_other_configurations
from pipeline.runs import progress, records
from pipeline.runs.folder import EVALUATION_FIGURE_NAME, RunFolder
from simsurrogate.errors import UserError
from simsurrogate.files import digest, remove_partials, sha256_of, writable_folder, write_whole
from simsurrogate.owned_files import delete_files
from simsurrogate.sources import source_hash
from surrogates import store
from surrogates.calibration import files as calibration_files
from surrogates.contract import Surrogate
from surrogates.deep_ensemble import Ensemble

if TYPE_CHECKING:
    from mpi4py import MPI

    from solvers.contract import Solver

#: The splits that are evaluated.
HELD_OUT_SPLITS = tuple(split for split in SPLITS if split.startswith("test"))


def run(settings: Settings) -> float:
    """Write `RUN/models/MODEL/evaluation/` with report.html last, and complete the model card.

    Return the headline error of the surrogate on the first split, see `schema.objective`.

    Raises:
        UserError: model or validated data are missing or do not match, or the guard refuses the test data.
    """
    communicator = launch.world()
    refuse_other_configurations(settings.model_dump(mode="json"), communicator.allgather)
    folder = RunFolder.of(settings)
    with (
        heartbeats.watch(communicator),
        records.run_record("evaluate", folder, settings.model_dump(mode="json")) as metadata,
    ):
        agreement.report_unused_keys("evaluate")
        dataset = Dataset.open(folder.dataset, folder.validations[1], allow_failed=settings.allow_failed)
        agreement.refuse_other_data(settings, folder.dataset, dataset.configuration, compares_seed=False)
        device = device_of(settings.training.device, launch.detect())
        surrogate, dataset = trained_model.load(settings, folder, device, dataset)
        if warning := unused_gpus(settings.training.device, device):
            metadata["warning"] = warning
            if communicator.rank == 0:
                print(f"warning: {warning}", flush=True)
        description = trained_model.description(folder.model_folder)
        model_settings = trained_model.settings_of(folder.model_folder, description)
        if settings.seed != settings.training.seed:
            # The seed is that of the data.
            model_settings.pop("seed", None)
        agreement.refuse_other_model(
            folder.model_folder, settings.model_dump(mode="json", include=set(model_settings)), model_settings
        )
        used_settings = settings.with_data_of(dataset.configuration)
        training = used_settings["training"] | model_settings.get("training", {})
        metadata["configuration"] = used_settings | model_settings | {"training": training}
        trained_model.refuse_changed_problem(surrogate, description, dataset, folder.model_folder)
        grids = other_grids.open_datasets(settings, folder, device, dataset)
        further_sources = sources.open_sources(settings, dataset)
        measured_on = [dataset, *further_sources, *(grid.dataset for grid in grids)]
        guard.refuse_model_tests(measured_on, settings.lineage)
        is_trained_on = trained_model.is_trained_on(description["configuration"], dataset)
        identity = _identity(settings, dataset, surrogate, description, grids)
        if further_sources:
            identity = digest([identity, *(source.identity for source in further_sources)])
        if not is_trained_on and (path := folder.model_folder / calibration_files.DOCUMENT).is_file():
            identity = digest([identity, sha256_of(path)])
        metadata["report"], is_first = str(folder.report), communicator.rank == 0
        is_complete = is_first and _is_complete(folder, identity, dataset, is_trained_on=is_trained_on)
        if communicator.bcast(is_complete, root=0):
            metadata["skipped"] = True
            if is_first:
                print(
                    f"evaluate: {folder.evaluation} is complete for this model and data set; nothing to do",
                    flush=True,
                )
                progress.report_output("evaluate", folder.report, "compare", [str(folder.path)], is_new=False)
            return schema.objective(schema.read(folder.evaluation / "metrics.json"))
        if is_first:
            writable_folder(folder.evaluation)
        fitted, sentences = fits.fit(dataset, communicator, has_states=not surrogate.learns_quantities)
        from mpi4py import MPI

        solver = solver_of_data(dataset.configuration, dataset.spec, settings.solver, MPI.COMM_SELF)
        splits = _measure_splits(settings, surrogate, dataset, communicator, fitted=fitted, solver=solver)
        grid_results = other_grids.measure(settings, grids, communicator)
        source_results = sources.measure(settings, surrogate, further_sources, communicator)
        held_out = HeldOut(surrogate, dataset, settings.evaluation.batch_size, communicator)
        calibration = model_calibration(held_out, is_trained_on=is_trained_on)
        intervals, confidence = coverage.measure(held_out, calibration, HELD_OUT_SPLITS)
        objective = math.nan
        if is_first:
            if is_trained_on:
                calibration_files.save(folder.model_folder, calibration, str(description["sha256"]))
            split, result = next(iter(splits.items()))
            (median_position, _), *_ = chosen_trajectories(result, 1)
            attributed = attribution.attribute_trajectory(surrogate, dataset, split, median_position)
            worth = worth_of_model(settings, folder, surrogate, dataset)
            if "linear" not in result.headline:
                sentences["linear"] = missing_linear_solution(solver, dataset.spec)
            reasons = {"worth": worth, "attribution": attributed}
            metrics = schema.Metrics(
                identity=identity,
                model=digest(dict(description)),
                surrogate=str(description["surrogate"]),
                dataset=dataset.identity,
                fields=[field.name for field in dataset.spec.fields],
                time=np.asarray(dataset.times, dtype=np.float64).tolist(),
                definitions=results.DEFINITIONS,
                splits=splits,
                other_grids=tuple(grid_results),
                sources=tuple(source_results),
                worth=None if isinstance(worth, str) else worth,
                baselines=sentences,
                training_speed=write_training_log(folder, description, dataset.spec.name),
                intervals=intervals,
                confidence=confidence,
                attribution=None if isinstance(attributed, str) else attributed.result,
                data_errors=data_errors(dataset),
                skipped={name: text for name, text in reasons.items() if isinstance(text, str)},
            )
            _write_evaluation(
                settings, folder, surrogate, dataset, metrics, attributed=attributed, solver=solver
            )
            metadata["headline"] = {
                split: {name: headline.model_dump() for name, headline in result.headline.items()}
                for split, result in splits.items()
            }
            objective = schema.objective(metrics)
        return float(communicator.bcast(objective))


def _identity(
    settings: Settings,
    dataset: Dataset,
    surrogate: Surrogate,
    description: Mapping[str, object],
    grids: Sequence[other_grids.OtherGrid],
) -> str:
    """Return a hash of all that determines the evaluation; `description` is the content of model.json."""
    model = surrogate.members[0] if isinstance(surrogate, Ensemble) else surrogate
    return digest(
        {
            "model": dict(description),
            "dataset": dataset.identity,
            "evaluation": settings.evaluation.model_dump(mode="json", exclude={"other_grids"}),
            "other_grids": [grid.dataset.identity for grid in grids],
            "sources": source_hash(type(model)),
            **added_solver(dataset.configuration, settings.solver),
            "version": importlib.metadata.version("simsurrogate"),
        }
    )


def _is_complete(folder: RunFolder, identity: str, dataset: Dataset, *, is_trained_on: bool) -> bool:
    """Return whether the evaluation is complete: the report is written last and removed first."""
    with suppress(UserError):
        metrics = schema.read(folder.evaluation / "metrics.json")
        model = str(store.description(folder.model_folder)["sha256"])
        is_calibrated = not is_trained_on or calibration_files.is_current(
            folder.model_folder, model, dataset.identity
        )
        return metrics.identity == identity and is_calibrated and folder.report.is_file()
    return False


def _measure_splits(
    settings: Settings,
    surrogate: Surrogate,
    dataset: Dataset,
    communicator: MPI.Intracomm,
    *,
    fitted: Mapping[fits.FittedPredictor, LinearBaseline],
    solver: Solver | None,
) -> dict[str, schema.SplitResult]:
    """Return the results of each held-out split on rank 0, and nothing on other ranks."""
    splits: dict[str, schema.SplitResult] = {}
    for split in HELD_OUT_SPLITS:
        num_trajectories = dataset.num_trajectories(split)
        if num_trajectories == 0:
            continue
        precision = dataset.configuration["storage"]["precision"]
        sizes.check_evaluation(
            settings.evaluation, dataset.spec, len(dataset.times), num_trajectories, precision
        )
        measurements = measure.measure(
            surrogate,
            solver,
            dataset,
            split,
            batch_size=settings.evaluation.batch_size,
            communicator=communicator,
            fitted=fitted,
        )
        if measurements is not None:
            splits[split] = results.split_results(measurements, dataset.spec, dataset.times)
    return splits


def _write_evaluation(
    settings: Settings,
    folder: RunFolder,
    surrogate: Surrogate,
    dataset: Dataset,
    metrics: schema.Metrics,
    *,
    attributed: attribution.Attribution | str,
    solver: Solver | None,
) -> None:
    """Write metrics.json, the figures, the model card and, last, the report; print the headline."""
    folder.report.unlink(missing_ok=True)
    schema.write(folder.evaluation / "metrics.json", metrics)
    figure_folder = folder.evaluation / "figures"
    remove_partials(folder.evaluation)
    delete_files(figure_folder, EVALUATION_FIGURE_NAME)
    has_own_grid = metrics.worth is not None and dataset.spec.coarsening is not None
    context = ReportContext(
        folder,
        writable_folder(figure_folder),
        surrogate,
        dataset,
        metrics,
        settings.evaluation.figures,
        attributed,
        solver if has_own_grid else None,
    )
    page = report.render(context)
    warnings = report_warnings(folder, surrogate, dataset, metrics)
    model_card.write(folder, dataset, metrics, warnings)
    write_whole(folder.report, page)
    _print_errors(metrics, dataset, folder)


def _print_errors(metrics: schema.Metrics, dataset: Dataset, folder: RunFolder) -> None:
    console = Console(highlight=False)
    console.print(error_table(metrics))
    if metrics.other_grids:
        console.print(other_grids.table(metrics, dataset.spec.shape))
    if metrics.sources:
        console.print(sources.table(metrics, str(dataset.folder)))
    for split in metrics.splits:
        console.print(words.verdict(metrics, split), soft_wrap=True)
    for sentence in (
        *([] if metrics.intervals is None else interval_sentences(metrics.intervals)),
        *([] if metrics.confidence is None else confidence_sentences(metrics.confidence)),
    ):
        console.print(sentence, soft_wrap=True)
    worth = metrics.skipped["worth"] if metrics.worth is None else worth_verdict(metrics.worth)
    console.print(worth, soft_wrap=True)
    progress.report_output("evaluate", folder.report, "compare", [str(folder.path)])


if __name__ == "__main__":
    cli.main(run, show_sweep)
