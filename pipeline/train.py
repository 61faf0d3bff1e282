"""The train stage: from a validated data set to RUN/models/SURROGATE/model.safetensors."""

from __future__ import annotations

import importlib.metadata
import io
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from pipeline import cli, lock, records
from pipeline.data.dataset import Dataset
from pipeline.data.files import writable_folder, write_whole
from pipeline.parallel.stopping import StoppedError
from pipeline.settings import Settings, build_solver, constructor_arguments
from pipeline.training import checkpoint, distributed, precision
from pipeline.training.loop import train
from pipeline.training.problem import problem_of, with_physics
from surrogates import store
from surrogates.contract import Problem, surrogate_class

#: Options of `training` that do not change what is learned.
_WITHOUT_EFFECT = {"max_skipped_steps", "checkpoint_every", "keep_checkpoints", "device", "tensorboard"}


def run(settings: Settings) -> None:
    """Trains `surrogate` on `dataset`, from the newest checkpoint where there is one.

    Raises:
        ValueError: the data set is missing or not validated; an option does not fit; the folder holds
            a model or checkpoints of another configuration, and `start_anew` is not set.
        LockedError: another run trains this model.
        StoppedError: SIGUSR1 came; a checkpoint was written.
    """
    dataset = Dataset.open(settings.dataset)
    name = str(settings.surrogate.get("name"))
    options = constructor_arguments(
        surrogate_class(name), settings.surrogate, "surrogate", given=("problem",)
    )
    configuration = {
        "surrogate": {"name": name, **options},
        "training": settings.training.model_dump(mode="json", exclude=_WITHOUT_EFFECT),
        "seed": settings.seed,
        "dataset": dataset.identity,
    }
    with records.attempt(settings, "train") as facts:
        step = _train(settings, dataset, name, options, configuration=configuration, facts=facts)
        # Raised where the ranks have left their group: its threads would not outlive the interpreter's end.
        last = settings.training.total_steps
        if step < last:
            raise StoppedError(f"a checkpoint of step {step} of {last} is there; run it again to go on")


def _train(
    settings: Settings,
    dataset: Dataset,
    name: str,
    options: dict[str, Any],
    *,
    configuration: Mapping[str, Any],
    facts: records.Facts,
) -> int:
    """Trains and saves, on all ranks; the steps that are done, fewer than all if they were asked to stop."""
    folder = settings.model_folder
    with (
        distributed.joined(settings.training.device, settings.run) as ranks,
        lock.held(settings.run / "locks" / f"train-{name}.lock") if ranks.is_first else nullcontext(),
    ):
        facts["nodes"] = ranks.nodes
        is_complete = ranks.is_first and _prepared(folder, configuration, settings.start_anew)
        if ranks.agree(is_complete):
            facts["skipped"] = True
            if ranks.is_first:
                print(f"{folder} holds the trained model of this configuration already")
            return settings.training.total_steps
        torch.manual_seed(settings.seed)
        surrogate = store.build(
            name, options, _problem(dataset, name), precision.weights(settings.training.precision)
        )
        state = train(
            surrogate,
            dataset,
            options=settings.training,
            seed=settings.seed,
            ranks=ranks,
            folder=folder,
            configuration=configuration,
            report=facts.progress,
        )
        if state.step == settings.training.total_steps and ranks.is_first:
            surrogate.load_state_dict(state.best_weights)
            origin = {
                "configuration": configuration,
                "valid_error": state.best_error,
                "step": state.best_step,
                "versions": {each: importlib.metadata.version(each) for each in ("simsurrogate", "torch")},
            }
            _draw_curves(folder)
            store.save(folder, surrogate, name, options, origin)
            facts |= {"valid_error": state.best_error, "device": str(ranks.device)}
            facts["skipped_steps"] = state.skipped
            print(f"{folder}: valid roll-out error {state.best_error:.3e} (step {state.best_step})")
    return state.step


def _problem(dataset: Dataset, name: str) -> Problem:
    """What the data set asks, with the solver's equation where the surrogate is physics-informed."""
    problem = problem_of(dataset)
    if not surrogate_class(name).physics_informed:
        return problem
    # Late: it starts MPI, which training under srun does without.
    from mpi4py import MPI

    return with_physics(problem, build_solver(dataset.configuration["solver"], MPI.COMM_SELF))


def _draw_curves(folder: Path) -> None:
    """`curves.png`: losses and errors of log.csv over the steps."""
    # Late: matplotlib takes as long to import as a small model to train.
    from pipeline.evaluation.curves import draw_training, read_log

    picture = io.BytesIO()
    draw_training(read_log(folder / "log.csv")).savefig(picture, format="png", dpi=150)
    write_whole(folder / "curves.png", picture.getvalue())


def _prepared(folder: Path, configuration: Mapping[str, Any], start_anew: bool) -> bool:
    """Makes the folder ready for this configuration; True where its model is there already."""
    writable_folder(folder)
    try:
        found = _found_configuration(folder)
    except ValueError:
        if not start_anew:
            raise
        found = {}
    if found is not None and found != configuration:
        if not start_anew:
            raise ValueError(
                f"{folder} was trained with another configuration: "
                f"{'; '.join(checkpoint.differences(found, configuration))}. Choose another run= folder, or "
                "delete what is there with start_anew=true"
            )
        shutil.rmtree(folder)
    writable_folder(folder / "checkpoints")
    return found == configuration and store.is_whole(folder)


def _found_configuration(folder: Path) -> Mapping[str, Any] | None:
    """The configuration whose model or checkpoints are in a folder; None where there are none."""
    if store.is_whole(folder):
        return dict(store.description(folder).get("configuration", {}))
    newest = checkpoint.newest_good(folder / "checkpoints")
    return None if newest is None else checkpoint.load(newest).configuration


if __name__ == "__main__":
    cli.main(run)
