"""The train stage: from a validated data set to RUN/models/MODEL/model.safetensors."""

from __future__ import annotations

import importlib.metadata
import io
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline import cli, compare
from pipeline.config.build import (
    Options,
    build_recorded_solver,
    constructor_arguments,
    surrogate_type,
    user_file,
)
from pipeline.config.settings import Settings
from pipeline.data.dataset import Dataset
from pipeline.parallel import stopping
from pipeline.parallel.ranks import Ranks, init_ranks
from pipeline.parallel.stopping import StoppedError, StopRequest
from pipeline.problem import problem_of, with_physics
from pipeline.runs import lock, records
from pipeline.training import ensemble
from pipeline.training.device import precision
from pipeline.training.device.malloc import keep_freed_memory
from pipeline.training.loop import CHECKS, train
from pipeline.training.model_folder import prepare, steps_done
from pipeline.training.validation import rollout_error
from simsurrogate.files import writable_folder, write_whole
from surrogates import store
from surrogates.contract import Problem
from surrogates.deep_ensemble import Ensemble

#: Options of `training` that do not change what is learned.
_WITHOUT_EFFECT = {"max_skipped_steps", "checkpoint_every", "keep_checkpoints", "device", "tensorboard"}


def run(settings: Settings) -> None:
    """Trains `surrogate` on `dataset`, from the newest checkpoint where there is one; with `ensemble=N`, N
    members of it side by side over the ranks.

    Raises:
        UserError: the data set is missing or not validated; an option does not fit; the folder holds
            a model or checkpoints of another configuration, and `start_anew` is not set.
        LockedError: another run trains this model.
        StoppedError: SIGUSR1 came; a checkpoint was written.
    """
    task, begun = _Task.of(settings), time.process_time()
    keep_freed_memory()
    with stopping.listening() as request, records.run_record(settings, "train") as facts:
        with (
            init_ranks(settings.training.device, settings.run) as ranks,
            precision.fast_products(ranks.device) as products,
            lock.held(_lock(settings)) if ranks.is_first else nullcontext(),
        ):
            facts.update(nodes=ranks.nodes, device=str(ranks.device), float32_products=products)
            train_it = _train_one if settings.ensemble == 1 else _train_ensemble
            done, total, found = train_it(task, ranks, facts.progress, request)
            facts.update(found, core_seconds=round(sum(ranks.gather(time.process_time() - begun)), 2))
        # Raised where the ranks have left their group: its threads would not outlive the interpreter's end.
        if done < total:
            whose = "a checkpoint of step" if settings.ensemble == 1 else "checkpoints of the members, step"
            raise StoppedError(f"{whose} {done} of {total} is there; run it again to go on")


@dataclass(frozen=True)
class _Task:
    """What is to be trained, on what."""

    settings: Settings
    dataset: Dataset
    options: dict[str, Any]

    @classmethod
    def of(cls, settings: Settings) -> _Task:
        dataset = Dataset.open(settings.dataset)
        constructor = surrogate_type(settings.surrogate)
        return cls(
            settings,
            dataset,
            constructor_arguments(constructor, settings.surrogate, "surrogate", given=("problem",)),
        )

    @property
    def name(self) -> str:
        return str(self.settings.surrogate["name"])

    @property
    def path(self) -> Path | None:
        """The user's file of the surrogate."""
        return user_file(self.settings.surrogate)

    @property
    def steps(self) -> int:
        return self.settings.training.total_steps

    @property
    def configuration(self) -> dict[str, Any]:
        """What determines the result."""
        return {
            "surrogate": {"name": self.name, **self.options},
            "training": self.settings.training.model_dump(mode="json", exclude=_WITHOUT_EFFECT),
            "seed": self.settings.seed,
            "dataset": self.dataset.identity,
        }


def _train_one(
    task: _Task, ranks: Ranks, report: ensemble.Report, request: StopRequest
) -> tuple[int, int, dict[str, Any]]:
    """Trains and saves one model, on all ranks; its steps that are done, all of them, and facts."""
    folder, seed = task.settings.model_folder, task.settings.seed
    done, facts = _fit(
        task, folder, task.configuration, seed=seed, ranks=ranks, report=report, request=request
    )
    return done, task.steps, facts


def _train_ensemble(
    task: _Task, ranks: Ranks, report: ensemble.Report, request: StopRequest
) -> tuple[int, int, dict[str, Any]]:
    """Trains and saves the members of an ensemble and what binds them, on all ranks; the steps of all members
    that are done, all of them, and facts.
    """
    settings, folder, count = task.settings, task.settings.model_folder, task.settings.ensemble
    ensemble.check_ranks(count, settings.training.batch_size, ranks.size)
    configuration = task.configuration | {"ensemble": True}
    total = count * task.steps
    checks: dict[str, Any] = {}

    def done() -> int:
        return sum(steps_done(store.member_folder(folder, number), task.steps) for number in range(count))

    def train_member(number: int, seed: int, group: Ranks, report: ensemble.Report) -> int:
        mine = configuration | {"member": number}
        where = store.member_folder(folder, number)
        reached, found = _fit(task, where, mine, seed=seed, ranks=group, report=report, request=request)
        checks.update({name: found[name] for name in CHECKS & found.keys()})
        return reached

    is_complete = (
        ranks.is_first
        and prepare(folder, configuration, settings.start_anew)
        and store.num_members(folder) == count
    )
    if ranks.broadcast(is_complete):
        return total, total, _told_complete(folder, ranks)
    ensemble.train_all(
        train_member,
        count,
        steps=task.steps,
        done=ranks.broadcast(done() if ranks.is_first else None),
        seed=settings.seed,
        ranks=ranks,
        report=report,
        request=request,
    )
    reached = ranks.broadcast(done() if ranks.is_first else None)
    if reached < total:
        return reached, total, checks
    return reached, total, checks | {"valid_error": _bind(task, folder, configuration, ranks)}


def _bind(task: _Task, folder: Path, configuration: dict[str, Any], ranks: Ranks) -> float:
    """Saves what makes an ensemble of its members; the roll-out error of their mean on the valid split, found
    by all ranks.
    """
    training = task.settings.training
    folders = [store.member_folder(folder, number) for number in range(task.settings.ensemble)]
    ensemble = Ensemble([store.load(one, ranks.device, task.path) for one in folders])
    at_once = max(1, training.batch_size // (ranks.size * training.gradient_accumulation_steps))
    error = rollout_error(ensemble, task.dataset, ranks, at_once)
    if ranks.is_first:
        facts = {"valid_error": error, "step": [store.description(one)["step"] for one in folders]}
        store.save_ensemble(folder, len(folders), _origin(configuration) | facts)
        print(f"{folder}: valid roll-out error of the members' mean {error:.3e}", flush=True)
    return error


def _fit(
    task: _Task,
    folder: Path,
    configuration: dict[str, Any],
    *,
    seed: int,
    ranks: Ranks,
    report: ensemble.Report,
    request: StopRequest,
) -> tuple[int, dict[str, Any]]:
    """Trains and saves a model in a folder, unless it is there; the steps done, and facts for the record."""
    training = task.settings.training
    is_complete = ranks.is_first and prepare(folder, configuration, task.settings.start_anew)
    if ranks.broadcast(is_complete):
        return task.steps, _told_complete(folder, ranks)
    if ranks.is_first:
        writable_folder(folder / "checkpoints")
    torch.manual_seed(seed)
    surrogate = store.build(
        task.name,
        task.options,
        _problem(task.dataset, task.settings.surrogate, task.settings.solver),
        precision.weights(training.precision),
        task.path,
    )
    state, checks = train(
        surrogate,
        task.dataset,
        options=training,
        seed=seed,
        ranks=ranks,
        folder=folder,
        configuration=configuration,
        report=report,
        request=request,
    )
    if state.step < task.steps or not ranks.is_first:
        return state.step, checks
    surrogate.load_state_dict(state.best_weights)
    _draw_curves(folder)
    facts = {"valid_error": state.best_error, "step": state.best_step}
    store.save(folder, surrogate, task.name, task.options, _origin(configuration) | facts)
    print(f"{folder}: valid roll-out error {state.best_error:.3e} (step {state.best_step})", flush=True)
    return state.step, checks | {"valid_error": state.best_error, "skipped_steps": state.skipped}


def _problem(dataset: Dataset, surrogate: Options, solver: Options) -> Problem:
    """Return the data set's problem for a surrogate; `surrogate` and `solver` are sections of the settings.

    A physics-informed surrogate gets the solver's equation. A surrogate that does not fit gets it, too,
    because the refusal lists the surrogates that fit.
    """
    problem, wanted = problem_of(dataset), surrogate_type(surrogate)
    if not wanted.physics_informed and wanted.incompatibility(problem) is None:
        return problem
    # Late: it starts MPI, which training under srun does without.
    from mpi4py import MPI

    return with_physics(problem, build_recorded_solver(dataset.configuration, solver, MPI.COMM_SELF))


def _told_complete(folder: Path, ranks: Ranks) -> dict[str, Any]:
    """Says that there is nothing to do; a fact for the record."""
    if ranks.is_first:
        print(f"{folder} holds the trained model of this configuration already", flush=True)
    return {"skipped": True}


def _origin(configuration: dict[str, Any]) -> dict[str, Any]:
    """What `model.json` says of where a model comes from."""
    versions = {each: importlib.metadata.version(each) for each in ("simsurrogate", "torch")}
    return {"configuration": configuration, "versions": versions}


def _draw_curves(folder: Path) -> None:
    """`curves.png`: losses and errors of log.csv over the steps."""
    # Late: matplotlib takes as long to import as a small model to train.
    from pipeline.plots.curves import draw_training, read_log

    picture = io.BytesIO()
    draw_training(read_log(folder / "log.csv")).savefig(picture, format="png", dpi=150)
    write_whole(folder / "curves.png", picture.getvalue())


def _lock(settings: Settings) -> Path:
    return settings.run / "locks" / f"train-{settings.model}.lock"


if __name__ == "__main__":
    cli.main(run, compare.after_sweep)
