"""A chain of Slurm jobs: submitted, looked at, taken up again, cancelled."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.config.settings import Settings
from pipeline.jobs.slurm import sbatch, status
from pipeline.jobs.slurm.sbatch import Job, Paper, Submitted
from pipeline.jobs.slurm.status import Task
from pipeline.runs import lock, records
from simsurrogate.errors import UserError

_ALIVE = ("pending", "running")


@dataclass(frozen=True)
class _Step:
    """What is to be done about one of a chain's jobs.

    `job` is to be submitted, if any of it is missing; `kept` is in the queue and stays, `dropped` is in the
    queue and waits for something that failed.
    """

    job: Job | None
    kept: list[str]
    dropped: list[str]


def start(settings: Settings, arguments: Sequence[str]) -> None:
    """Submits all jobs of a chain, or prints their lines if `dry_run`.

    Raises:
        UserError: jobs of this run are in the queue already, or Slurm refuses one: then those before it
            are cancelled.
    """
    steps = [_Step(job, [], []) for job in sbatch.jobs(settings.launcher.parts)]
    if settings.dry_run:
        _print_lines(settings, arguments, steps)
        return
    with lock.waited_for(settings.run / "locks" / "chain.lock"):
        paper = sbatch.read_document(settings.run)
        alive = _alive(paper, settings.run) if paper else []
        if alive:
            raise UserError(
                f"{settings.run} has jobs in the queue ({', '.join(alive)}): "
                f"`python -m pipeline.chain status run={settings.run}` shows them, `cancel` ends them; "
                "another chain wants another run= folder"
            )
        paper = _submit(settings, steps, Paper(tuple(arguments), os.getcwd(), ()))
    _show(paper, settings.run)
    print(f"`python -m pipeline.chain status run={settings.run}` tells how far they are")


def resume(settings: Settings, arguments: Sequence[str]) -> None:
    """Submits what failed, was cancelled or never began, and all that waits for it; prints it if `dry_run`.

    Raises:
        UserError: Slurm refuses a job: then those before it are cancelled.
    """
    with lock.waited_for(settings.run / "locks" / "chain.lock"):
        paper = _paper_of(settings.run)
        steps = _steps_to_resume(sbatch.jobs(settings.launcher.parts), status.tasks(paper, settings.run))
        if not any(step.job for step in steps):
            print("nothing is missing: every job is done, works or waits; what was typed now has no effect")
        elif settings.dry_run:
            _print_lines(settings, arguments, steps)
            return
        else:
            paper = _submit(settings, steps, replace(paper, arguments=tuple(arguments)))
    _show(paper, settings.run)


def show(run: Path) -> None:
    """Prints the state of each job, with the reason and the log of those that failed."""
    _show(_paper_of(run), run)


def cancel(run: Path) -> None:
    """Cancels all jobs of a chain that wait or work."""
    alive = _alive(_paper_of(run), run)
    status.cancel(alive)
    print(f"cancelled: {', '.join(alive)}" if alive else "no job of this chain waits or works")


def typed(run: Path) -> Paper:
    """The paper of a chain, which tells what was typed to start it and where.

    Raises:
        UserError: no chain of jobs was started in this folder.
    """
    return _paper_of(run)


def _steps_to_resume(jobs: Sequence[Job], found: Mapping[str, Sequence[Task]]) -> list[_Step]:
    """What is missing of each job; behind one that is submitted again, all that had waited for it is too."""
    steps: list[_Step] = []
    for job in jobs:
        again = any(step.job for step in steps)
        tasks = found.get(job.name, [])
        kept = [task for task in tasks if task.state in _ALIVE and not again]
        done = {task.task for task in tasks if task.state == "done"} | {task.task for task in kept}
        missing = [task for task in [str(task) for task in job.tasks] or [""] if task not in done]
        numbers = tuple(int(task) for task in missing if task)
        dropped = [task.key for task in tasks if task.state in _ALIVE and again]
        part = Job(job.name, job.stage, numbers) if missing else None
        steps.append(_Step(part, [task.key for task in kept], dropped))
    return steps


def _submit(settings: Settings, steps: Sequence[_Step], paper: Paper) -> Paper:
    """Hands the jobs to Slurm, each behind the one before; the paper that lists them, also on disk."""
    run = settings.run
    setup = sbatch.write_setup(run, settings.launcher.setup)
    after: list[str] = []
    submitted: list[str] = []
    for step in steps:
        status.cancel(step.dropped)
        after_next = list(step.kept)
        if step.job:
            job = step.job
            line = sbatch.sbatch_line(job, settings.launcher, run, paper.arguments, after)
            try:
                number = sbatch.submit(line, setup)
            except ValueError as error:
                status.cancel(submitted)
                told = f"\nthe jobs before it are cancelled: {', '.join(submitted)}" if submitted else ""
                raise UserError(f"{error}{told}") from None
            submitted.append(number)
            log = sbatch.log_pattern(job, run)
            taken = Submitted(job.name, job.stage, job.tasks, number, tuple(line), log)
            paper = replace(paper, jobs=(*paper.jobs, taken))
            paper.write(run)
            after_next.insert(0, number)
        after = after_next
    return paper


def _print_lines(settings: Settings, arguments: Sequence[str], steps: Sequence[_Step]) -> None:
    after: list[str] = []
    setup = shlex.quote(str(sbatch.setup_path(settings.run)))
    launcher = settings.launcher
    print(f"# {setup} will hold:", *sbatch.setup_lines(launcher.setup), sep="\n#     ")
    for step in steps:
        after_next = list(step.kept)
        if job := step.job:
            words = [*launcher.mpirun, "-n", str(launcher.ranks[job.stage])]  # type: ignore[index]
            print(f"# {job.name}: {shlex.join(words)} python -m pipeline.{job.stage} ...")
            line = sbatch.sbatch_line(job, launcher, settings.run, arguments, after)
            print(f"SIMSURROGATE_SETUP={setup} {shlex.join(line)}")
            after_next.insert(0, f"<{job.name}>")
        after = after_next


def _alive(paper: Paper, run: Path) -> list[str]:
    return [task.key for tasks in status.tasks(paper, run).values() for task in tasks if task.state in _ALIVE]


def _paper_of(run: Path) -> Paper:
    paper = sbatch.read_document(run)
    if paper is None:
        raise UserError(
            f"no chain of jobs was started in {run}: {sbatch.paper_path(run)} is not there; squeue "
            "shows jobs that were submitted by hand"
        )
    return paper


def _show(paper: Paper, run: Path) -> None:
    found = status.tasks(paper, run)
    table = Table(box=None, pad_edge=False)
    for column in ("job", "number", "state", ""):
        table.add_column(column, overflow="fold")
    for name, tasks in found.items():
        if len(tasks) > 1:
            states = [task.state for task in tasks]
            counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
            table.add_row(f"{name} ({len(tasks)} tasks)", tasks[-1].job.number, counts, "")
        for task in tasks:
            if len(tasks) == 1 or task.state in ("running", "failed", "cancelled"):
                table.add_row(task.name, task.key, task.state, "" if task.state == "failed" else task.why)
    console = Console(highlight=False, markup=False)
    console.print(f"{run}:", soft_wrap=True)
    console.print(table)
    every = [task for tasks in found.values() for task in tasks]
    for task in every:
        if task.state == "failed":
            console.print(f"{task.name} failed: {task.why}\n  its log: {task.log}", soft_wrap=True)
    console.print(f"logs: {sbatch.setup_path(run).parent / 'logs'}", soft_wrap=True)
    if any(task.state in ("failed", "cancelled") for task in every):
        console.print(
            f"`python -m pipeline.chain resume run={run}` submits what is missing; KEY=VALUE behind it "
            "changes a setting",
            soft_wrap=True,
        )
    if every and all(task.state == "done" for task in every):
        told = [record["report"] for record in records.of_stage(run, "evaluate") if "report" in record]
        console.print(f"report: {told[-1]}" if told else "", soft_wrap=True)
