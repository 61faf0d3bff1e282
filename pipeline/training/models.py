"""One model, or an ensemble of models, trained and saved by all ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pipeline.parallel.ranks import Ranks
from pipeline.parallel.stopping import StopRequest
from pipeline.training import ensemble
from pipeline.training.ensemble import ProgressReport
from pipeline.training.fit import fit, report_complete
from pipeline.training.loop import RecordEntries
from pipeline.training.model_folder import prepare, steps_done
from pipeline.training.task import TrainingIdentity, TrainingTask, origin
from pipeline.training.validation import rollout_error
from simsurrogate.errors import UserError
from surrogates import store
from surrogates.deep_ensemble import Ensemble


@dataclass(frozen=True)
class Outcome:
    """The steps done, the steps in total, and entries for the run record."""

    done: int
    total: int
    entries: RecordEntries


def train_model(
    task: TrainingTask, folder: Path, *, ranks: Ranks, report: ProgressReport, request: StopRequest
) -> Outcome:
    """Train and save one model, on all ranks."""
    steps, entries = fit(
        task, folder, task.identity, seed=task.seed, ranks=ranks, report=report, request=request
    )
    return Outcome(steps, task.training.total_steps, entries)


def train_ensemble(
    task: TrainingTask,
    folder: Path,
    *,
    count: int,
    ranks: Ranks,
    report: ProgressReport,
    request: StopRequest,
) -> Outcome:
    """Train and save the members of an ensemble, on all ranks, and save the ensemble."""
    ensemble.check_ranks(count, task.training.batch_size, ranks.size)
    identity = task.ensemble_identity
    training = task.training
    steps = training.total_steps
    total = count * steps
    entries: RecordEntries = {}

    def steps_of_members() -> int:
        return sum(steps_done(store.member_folder(folder, member), training) for member in range(count))

    def train_member(member: int, seed: int, group: Ranks, report: ProgressReport) -> int:
        member_steps, member_entries = fit(
            task,
            store.member_folder(folder, member),
            {**identity, "member": member},
            seed=seed,
            ranks=group,
            report=report,
            request=request,
        )
        if "bfloat16_errors" in member_entries:
            entries["bfloat16_errors"] = member_entries["bfloat16_errors"]
        if "preparation" in member_entries:
            entries["preparation"] = member_entries["preparation"]
        if "compiled" in member_entries:
            entries["compiled"] = member_entries["compiled"]
        return member_steps

    is_complete = (
        ranks.is_first
        and prepare(folder, identity, task.overwrite) is None
        and store.num_members(folder) == count
    )
    if ranks.broadcast(is_complete):
        return Outcome(total, total, report_complete(folder, ranks))
    ensemble.train_all(
        train_member,
        count,
        steps=steps,
        done=ranks.broadcast(steps_of_members() if ranks.is_first else 0),
        seed=task.seed,
        ranks=ranks,
        report=report,
        request=request,
    )
    done = ranks.broadcast(steps_of_members() if ranks.is_first else 0)
    if done == total:
        entries["valid_error"] = _save_ensemble(task, folder, count, identity, ranks)
    return Outcome(done, total, entries)


def _save_ensemble(
    task: TrainingTask, folder: Path, count: int, identity: TrainingIdentity, ranks: Ranks
) -> float:
    """Write the description of an ensemble, and return the rollout error of its mean on the valid split.

    Raises:
        UserError: the error is not finite.
    """
    training = task.training
    members = [store.member_folder(folder, member) for member in range(count)]
    model = Ensemble([store.load(member, ranks.device, path=task.surrogate_path) for member in members])
    batch_size = max(1, training.batch_size // (ranks.size * training.gradient_accumulation_steps))
    error = rollout_error(model, task.dataset, ranks, batch_size)
    if not math.isfinite(error):
        raise UserError(
            f"the rollout error of the mean of {count} members on the valid split is {error}. The error of "
            "an ensemble must be finite. Type overwrite=true and a value below "
            f"training.learning_rate={training.learning_rate:g}"
        )
    if ranks.is_first:
        best_steps = [store.description(member)["step"] for member in members]
        metadata = {**origin(task, identity), "valid_error": error, "step": best_steps}
        store.save_ensemble(folder, count, metadata)
        print(f"{folder}: valid rollout error of the members' mean {error:.3e}", flush=True)
    return error
