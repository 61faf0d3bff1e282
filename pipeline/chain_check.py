"""The check of a whole configuration before a chain starts, on this machine or as jobs."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from pipeline.config import launcher_words, sizes
from pipeline.config.quantities import with_quantities
from pipeline.config.settings import Settings
from pipeline.jobs.slurm import gpus
from pipeline.parallel import launch, mpi
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError

if TYPE_CHECKING:
    from solvers.contract import Solver


def check(settings: Settings) -> None:
    """Refuse a configuration that a later stage would refuse, before any work starts.

    Raises:
        UserError: a name is unknown, an option is wrong, options cannot work together, or the run folder
            holds a data set or a model of another configuration.
    """
    # Imported here because these imports load torch and MPI.
    import numpy as np

    mpi.initialise(is_alone=launch.detect().launcher == "none")
    from mpi4py import MPI

    from pipeline.coarsening.solver import coarsened
    from pipeline.config import solver_checks
    from pipeline.config.build import (
        build_solver,
        dataset_configuration,
        refuse_unused_surrogate_options,
        surrogate_arguments,
        surrogate_type,
    )
    from pipeline.data import store
    from pipeline.data.quantity_data import quantity_spec
    from pipeline.problem import expected_problem, with_physics
    from pipeline.training import option_checks
    from surrogates.weights import construct_without_memory

    _refuse_part(settings)
    launcher_words.refuse_misread_words(settings.launcher.model_dump())
    if settings.launcher.name == "slurm":
        gpus.check(settings.launcher, settings.training.device)
    own_solver = build_solver(settings.solver, MPI.COMM_SELF)
    solver = coarsened(own_solver, settings.output.model_dump())
    _check_data(settings, own_solver, solver)
    solver_checks.check_outside(solver, settings.samples.test_extrapolation)
    if not settings.overwrite:
        store.refuse_other_configuration(settings.dataset, dataset_configuration(settings, own_solver))
    steps, training = settings.output.steps, settings.training
    if training.unroll > steps:
        raise UserError(
            f"training.unroll={training.unroll} is longer than a trajectory of output.steps={steps}. "
            f"At most {steps} steps fit. Type training.unroll={steps}, or raise output.steps"
        )
    _check_groups(settings)
    _check_batch(settings)
    constructor = surrogate_type(settings.surrogate)
    surrogate_options = surrogate_arguments(constructor, settings.surrogate)
    times = settings.output.duration * np.arange(steps + 1) / steps
    spec = with_quantities(solver.spec, settings.quantities)
    if constructor.learns_quantities:
        spec = quantity_spec(spec, "the configuration")
    problem = expected_problem(spec, times)
    refuse_unused_surrogate_options(constructor, settings.surrogate, problem)
    surrogate = construct_without_memory(
        lambda: constructor(with_physics(problem, solver), **surrogate_options)
    )
    option_checks.check(surrogate, training)
    if settings.launcher.name == "local":
        sizes.check_training(
            training,
            surrogate,
            num_ranks=settings.launcher.ranks["train"],
            num_windows=training.batch_size // training.gradient_accumulation_steps,
        )
    if not settings.overwrite:
        _refuse_other_model(settings)


def _refuse_other_model(settings: Settings) -> None:
    """Refuse a model of another configuration in the model's folder, as train does later.

    Without validated data there is no model to keep, and train has to check the data.
    """
    from pipeline.data.dataset import Dataset
    from pipeline.data.plan import SPLITS
    from pipeline.data.recorded_configuration import grows, is_adopted
    from pipeline.training import model_folder
    from pipeline.training.task import TrainingTask

    run_folder = RunFolder.of(settings)
    # The check would create a missing folder.
    if not run_folder.model_folder.is_dir():
        return
    try:
        dataset = Dataset.open(
            settings.dataset, run_folder.validations[1], allow_failed=settings.allow_failed
        )
    except UserError:
        return
    task = TrainingTask.of(dataset, settings)
    identity = task.ensemble_identity if settings.ensemble > 1 else task.identity
    samples, stored = settings.samples.model_dump(), dataset.configuration
    requested = {**stored, "samples": samples}
    if not is_adopted(stored) and requested != stored and grows(stored, requested):
        grown_data = {**dataset.size, "trajectories": {split: samples[split] for split in SPLITS}}
        model_folder.refuse_model_of_smaller_data(run_folder.model_folder, {**identity, "data": grown_data})
    model_folder.prepare(run_folder.model_folder, identity, overwrite=False)


def _check_data(settings: Settings, own_solver: Solver, solver: Solver) -> None:
    """Check the size of the data, and the options that depend on the duration.

    `solver` has the stored frames, which may be coarser than those of `own_solver`.
    The jobs of a chain have the memory of their own nodes.
    """
    from pipeline.generation.batched import solves_batches

    samples = settings.samples
    sizes.check_data_set(settings, solver.spec)
    if settings.launcher.name == "local":
        num_groups = max(settings.launcher.ranks["generate"] // settings.group_size, 1)
        is_batched = settings.group_size == 1 and solves_batches(solver)
        sizes.check_generation(settings, own_solver.spec, is_batched=is_batched, num_states=num_groups)
        sizes.check_evaluation(
            settings.evaluation,
            solver.spec,
            settings.output.steps + 1,
            max(samples.test, samples.test_extrapolation),
            settings.storage.precision,
        )
    # The cautions are printed by generate.
    deque(solver.cautions(settings.output.duration), maxlen=0)


def _check_groups(settings: Settings) -> None:
    """Raise UserError if the ranks of a job that generates data do not divide into groups."""
    launcher, group_size = settings.launcher, settings.group_size
    has_finish = launcher.name == "slurm" and launcher.parts > 1
    for job in ("generate", "finish") if has_finish else ("generate",):
        ranks = launcher.ranks[job]  # type: ignore[index]
        if ranks % group_size:
            raise UserError(
                f"launcher.ranks.{job}={ranks} ranks do not divide into groups of group_size={group_size}. "
                f"A multiple of group_size is allowed. Type launcher.ranks.{job}={group_size}, or another "
                "multiple"
            )


def _refuse_part(settings: Settings) -> None:
    if settings.part != (0, 1):
        part, num_parts = settings.part
        raise UserError(
            f"part=[{part},{num_parts}] generates some of the shards, and a chain needs all shards. Only the "
            "stage generate takes a part. Leave out part=, or type launcher=slurm launcher.parts="
            f"{num_parts} for jobs that generate the parts side by side"
        )


def _check_batch(settings: Settings) -> None:
    """Raise UserError if the batch does not divide among the ranks of a model and their micro-batches."""
    from pipeline.training import ensemble
    from pipeline.training.batches.order import BatchOrder

    training, ranks = settings.training, settings.launcher.ranks["train"]
    if settings.ensemble > 1:
        ensemble.check_ranks(settings.ensemble, training.batch_size, ranks)
    BatchOrder(
        1,
        training.batch_size,
        training.seed,
        0,
        ranks // math.gcd(settings.ensemble, ranks),
        num_micro_batches=training.gradient_accumulation_steps,
    )
