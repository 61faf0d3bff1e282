"""The worth of the model in a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pipeline.config.solver_of_data import solver_of_data
from pipeline.evaluation import trained_model
from pipeline.evaluation.worth import measure_worth
from pipeline.evaluation.worth_result import WorthResult, worth_result
from pipeline.runs import provenance
from simsurrogate.machine import processor_name

if TYPE_CHECKING:
    from pipeline.config.settings import Settings
    from pipeline.data.dataset import Dataset
    from pipeline.runs.folder import RunFolder
    from surrogates.contract import Surrogate


def worth_of_model(
    settings: Settings, folder: RunFolder, surrogate: Surrogate, dataset: Dataset
) -> WorthResult | str:
    """Return the worth of a surrogate on the processor, next to the costs of its data and its training.

    The result is the reason why there is no worth for adopted data without a solver, with
    `evaluation.worth=0`, without test trajectories, and if every reference solution diverges.

    Raises:
        UserError: the solver of the data set cannot be built.
    """
    num_trajectories = min(settings.evaluation.worth, dataset.num_trajectories("test"))
    if num_trajectories == 0:
        reason = "evaluation.worth is 0" if settings.evaluation.worth == 0 else "the split test is empty"
        return (
            f"The surrogate is not compared with its solver, because {reason}. The comparison needs test "
            "trajectories. Type evaluation.worth=8 and, without a split test, samples.test=8 for generate."
        )
    from mpi4py import MPI

    solver = solver_of_data(dataset.configuration, dataset.spec, settings.solver, MPI.COMM_SELF)
    if solver is None:
        return (
            "The surrogate is not compared with a solver, because the data set was adopted from files "
            "without a solver. Type solver=NAME to compare it with a solver."
        )
    if next(surrogate.parameters()).device.type != "cpu":
        surrogate, _ = trained_model.load(settings, folder, torch.device("cpu"), dataset)
    options = settings.evaluation
    worth = measure_worth(
        surrogate, solver, dataset, num_trajectories, options.worth_frames, compiled=options.compiled
    )
    if worth is None:
        return (
            "The surrogate is not compared with its solver, because the solver's reference solution diverges "
            "on every trajectory. Type a larger evaluation.worth to include more trajectories."
        )
    training_attempts = provenance.attempts(folder.path, "train", folder.model)
    return worth_result(
        worth,
        processor_name(),
        generation_seconds=dataset.core_seconds,
        training_seconds=provenance.core_seconds(training_attempts),
    )
