"""The train stage: from a validated data set to RUN/models/MODEL/model.safetensors."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from pipeline import cli, compare
from pipeline.config.settings import Settings
from pipeline.parallel import stopping
from pipeline.parallel.ranks import Ranks, init_ranks
from pipeline.parallel.stopping import StoppedError, StopRequest
from pipeline.runs import lock, records
from pipeline.runs.folder import RunFolder
from pipeline.runs.progress import report_output
from pipeline.training import ensemble
from pipeline.training.device import precision
from pipeline.training.device.malloc import keep_freed_memory
from pipeline.training.ensemble import Report
from pipeline.training.fit import fit, report_complete
from pipeline.training.loop import RecordEntries
from pipeline.training.model_folder import prepare, steps_done
from pipeline.training.task import TrainingIdentity, TrainingTask, origin
from pipeline.training.validation import rollout_error
from surrogates import store
from surrogates.deep_ensemble import Ensemble


@dataclass(frozen=True)
class _Outcome:
    """The steps done, the steps in total, and entries for the run record."""

    done: int
    total: int
    entries: RecordEntries


def run(settings: Settings) -> None:
    """Train `surrogate` on `dataset`, from the newest checkpoint if there is one.

    With `ensemble=N` the ranks train N members side by side.

    Raises:
        UserError: the data set is missing or not validated; an option does not fit; the folder holds
            a model or checkpoints of another configuration, and `start_anew` is false.
        LockedError: another run trains this model.
        StoppedError: the stage received SIGUSR1 and has written a checkpoint.
    """
    task, begin = TrainingTask.from_settings(settings), time.process_time()
    run_folder = RunFolder.of(settings)
    folder, is_ensemble = run_folder.model_folder, settings.ensemble > 1
    keep_freed_memory()
    with stopping.listening() as request, records.run_record(settings, "train") as metadata:
        with (
            init_ranks(settings.training.device, settings.run) as ranks,
            precision.fast_matmul(ranks.device) as products,
            lock.held(run_folder.train_lock) if ranks.is_first else nullcontext(),
        ):
            metadata.update(nodes=ranks.nodes, device=str(ranks.device), float32_products=products)
            report = metadata.progress
            if is_ensemble:
                outcome = _train_ensemble(
                    task, folder, count=settings.ensemble, ranks=ranks, report=report, request=request
                )
            else:
                outcome = _train_one(task, folder, ranks=ranks, report=report, request=request)
            core_seconds = sum(ranks.gather(time.process_time() - begin))
            metadata.update(outcome.entries, core_seconds=round(core_seconds, 2))
        # Raised after the ranks have left their group: its threads must end before the interpreter does.
        if outcome.done < outcome.total:
            saved = "checkpoints of the members, step" if is_ensemble else "a checkpoint of step"
            raise StoppedError(
                f"stopped on request with {saved} {outcome.done} of {outcome.total}; run the same command "
                "again to continue"
            )
        if ranks.is_first:
            report_output("train", folder, "evaluate")


def _train_one(
    task: TrainingTask, folder: Path, *, ranks: Ranks, report: Report, request: StopRequest
) -> _Outcome:
    """Train and save one model, on all ranks."""
    steps, entries = fit(
        task, folder, task.identity, seed=task.seed, ranks=ranks, report=report, request=request
    )
    return _Outcome(steps, task.training.total_steps, entries)


def _train_ensemble(
    task: TrainingTask, folder: Path, *, count: int, ranks: Ranks, report: Report, request: StopRequest
) -> _Outcome:
    """Train and save the members of an ensemble, on all ranks, and save the ensemble."""
    ensemble.check_ranks(count, task.training.batch_size, ranks.size)
    identity: TrainingIdentity = {**task.identity, "ensemble": True}
    steps = task.training.total_steps
    total = count * steps
    entries: RecordEntries = {}

    def steps_of_members() -> int:
        return sum(steps_done(store.member_folder(folder, member), steps) for member in range(count))

    def train_member(member: int, seed: int, group: Ranks, report: Report) -> int:
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
        if "compiled" in member_entries:
            entries["compiled"] = member_entries["compiled"]
        return member_steps

    is_complete = (
        ranks.is_first and prepare(folder, identity, task.start_anew) and store.num_members(folder) == count
    )
    if ranks.broadcast(is_complete):
        return _Outcome(total, total, report_complete(folder, ranks))
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
    return _Outcome(done, total, entries)


def _save_ensemble(
    task: TrainingTask, folder: Path, count: int, identity: TrainingIdentity, ranks: Ranks
) -> float:
    """Write the description of an ensemble, and return the rollout error of its mean on the valid split."""
    training = task.training
    members = [store.member_folder(folder, member) for member in range(count)]
    model = Ensemble([store.load(member, ranks.device, path=task.surrogate_path) for member in members])
    batch_size = max(1, training.batch_size // (ranks.size * training.gradient_accumulation_steps))
    error = rollout_error(model, task.dataset, ranks, batch_size)
    if ranks.is_first:
        best_steps = [store.description(member)["step"] for member in members]
        metadata = {**origin(identity), "valid_error": error, "step": best_steps}
        store.save_ensemble(folder, count, metadata)
        print(f"{folder}: valid rollout error of the members' mean {error:.3e}", flush=True)
    return error


if __name__ == "__main__":
    cli.main(run, compare.after_sweep)
