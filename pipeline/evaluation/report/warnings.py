"""The warnings of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.data.lineage import guard
from pipeline.data.lineage.guard import HELD_OUT_SPLITS
from pipeline.evaluation.trained_model import is_trained_on
from pipeline.runs.model_family import family_of_model
from surrogates import store
from surrogates.deep_ensemble import Ensemble

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from pipeline.evaluation.schema import Metrics
    from pipeline.runs.folder import RunFolder
    from surrogates.contract import Surrogate


def report_warnings(folder: RunFolder, surrogate: Surrogate, dataset: Dataset, metrics: Metrics) -> list[str]:
    """Return the warnings that a reader must know before trusting the numbers."""
    problem, warnings = surrogate.problem, []
    description = store.description(folder.model_folder)
    training_dataset = description["configuration"]["dataset"]
    model = surrogate.members[0] if isinstance(surrogate, Ensemble) else surrogate
    if store.has_changed_sources(description, type(model)):
        warnings.append("The sources of the surrogate have changed after the training of the model.")
    if statement := guard.sentence(family_of_model(folder.model_folder).models[description["sha256"]]):
        warnings.append(statement)
    if dataset.family.data[dataset.identity].count(*HELD_OUT_SPLITS, kinds=("surrogate",)):
        warnings.append(
            "The held-out trajectories are output of a model: the errors below are not errors against the "
            "truth."
        )
    warnings += _failed_check_warnings(description["configuration"], dataset)
    if training_dataset != dataset.identity:
        warnings.append(_other_data_warning(description["configuration"], dataset))
    ranges = zip(
        problem.spec.parameter_names,
        problem.spec.parameter_ranges,
        dataset.spec.parameter_ranges,
        strict=True,
    )
    for name, trained_range, tested_range in ranges:
        if tuple(trained_range) != tuple(tested_range):
            warnings.append(
                f"{name} was trained on {trained_range[0]:g} to {trained_range[1]:g}; "
                f"this data set has {tested_range[0]:g} to {tested_range[1]:g}."
            )
    trained_cells = [axis["size"] for axis in description["problem"]["spec"]["sites"].get("axes", [])]
    if trained_cells and (cells := list(problem.spec.shape)) != trained_cells:
        texts = [" x ".join(map(str, numbers)) for numbers in (trained_cells, cells)]
        warnings.append(f"The model was trained on {texts[0]} cells; this data set has {texts[1]}.")
    duration = float(dataset.times[-1] - dataset.times[0])
    if duration > problem.duration * (1 + 1e-9):
        warnings.append(
            f"The model was trained on trajectories of {problem.duration:g} s; "
            f"the trajectories of this data set last {duration:g} s."
        )
    warnings += [
        f"The split {split} has only {result.trajectories} trajectories: its statistics are rough."
        for split, result in metrics.splits.items()
        if result.trajectories < 8
    ]
    return warnings


def _failed_check_warnings(configuration: Mapping[str, Any], dataset: Dataset) -> list[str]:
    """Return the warnings about data that failed their validation, in the training and in this report."""
    warnings = []
    if failed_checks := configuration.get("failed_checks"):
        warnings.append(
            "The model was trained with allow_failed=true on data that failed the checks "
            f"{', '.join(failed_checks)}: errors of the data are errors of the model."
        )
    if dataset.failed_checks:
        warnings.append(
            "The data of this report failed the checks "
            f"{', '.join(dataset.failed_checks)}: the errors below may be too small or too large."
        )
    return warnings


def _other_data_warning(configuration: Mapping[str, Any], dataset: Dataset) -> str:
    """Return the warning about a model of another data set, or of a smaller version of this data set."""
    if is_trained_on(configuration, dataset):
        counts = [data["trajectories"]["train"] for data in (configuration["data"], dataset.size)]
        return (
            f"The model was trained before this data set grew, on {counts[0]} training trajectories; now it "
            f"has {counts[1]}."
        )
    return f"The model was trained on another data set, {configuration['dataset']}."
