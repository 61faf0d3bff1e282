"""A chain of Slurm jobs: submitted, looked at, taken up again, cancelled."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline import lock
from pipeline.jobs import queue, submission
from pipeline.jobs.queue import Task
from pipeline.jobs.submission import Job, Paper, Submitted
from pipeline.settings import Settings

_ALIVE = ("pending", "running")


def start(settings: Settings, arguments: Sequence[str]) -> None:
    """Submits all jobs of a chain, or prints their lines if `dry_run`.

    Raises:
        ValueError: jobs of this run are in the queue already, or Slurm refuses one.
    """
    jobs = submission.jobs(settings.launcher.parts)
    if settings.dry_run:
        _print_lines(settings, arguments, jobs)
        return
    with lock.waited_for(settings.run / "locks" / "chain.lock"):
        paper = submission.read_paper(settings.run)
        alive = _alive(paper, settings.run) if paper else []
        if alive:
            raise ValueError(
                f"jobs {', '.join(alive)} of {settings.run} are in the queue: "
                f"`python -m pipeline.chain status run={settings.run}` shows them, `cancel` ends them; "
                "another chain wants another run= folder"
            )
        submitter = _Submitter(settings, arguments, Paper(tuple(arguments), os.getcwd(), ()))
        for job in jobs:
            submitter.submit(job)
    _show(submitter.paper, settings.run)


def resume(settings: Settings, arguments: Sequence[str]) -> None:
    """Submits what failed, was cancelled or never began, and all that waits for it.

    Raises:
        ValueError: Slurm refuses a job.
    """
    with lock.waited_for(settings.run / "locks" / "chain.lock"):
        paper = submission.read_paper(settings.run)
        assert paper is not None
        found = queue.tasks(paper, settings.run)
        submitter = _Submitter(settings, arguments, paper)
        for job in submission.jobs(settings.launcher.parts):
            tasks = found.get(job.name, [])
            missing = _missing(job, tasks, redo=submitter.has_submitted)
            kept = [task for task in tasks if task.state in _ALIVE and task.task not in missing]
            queue.cancel(task.key for task in tasks if task.state in _ALIVE and task.task in missing)
            if missing:
                numbers = tuple(int(task) for task in missing if task)
                submitter.submit(Job(job.name, job.stage, numbers), [task.key for task in kept])
            else:
                submitter.wait_for([task.key for task in kept])
    if not submitter.has_submitted:
        print("nothing is missing: every job is done, works or waits")
    _show(submitter.paper, settings.run)


def show(run: Path) -> None:
    """Prints the state of each job, with the reason and the log of those that failed."""
    _show(_paper_of(run), run)


def cancel(run: Path) -> None:
    """Cancels all jobs of a chain that wait or work."""
    alive = _alive(_paper_of(run), run)
    queue.cancel(alive)
    print(f"cancelled: {', '.join(alive)}" if alive else "no job of this chain waits or works")


def typed(run: Path) -> Paper:
    """The paper of a chain, which tells what was typed to start it and where.

    Raises:
        ValueError: no chain of jobs was started in this folder.
    """
    return _paper_of(run)


class _Submitter:
    """Submits one job after the other, each behind the one before, and keeps the paper."""

    def __init__(self, settings: Settings, arguments: Sequence[str], paper: Paper):
        self.paper = paper
        self.has_submitted = False
        self._settings = settings
        self._arguments = arguments
        self._setup = submission.write_setup(settings.run, settings.launcher.setup)
        self._after: list[str] = []

    def submit(self, job: Job, beside: Sequence[str] = ()) -> None:
        """Hands a job to Slurm; the next one waits for it and for the tasks `beside` it."""
        run = self._settings.run
        line = submission.sbatch_line(job, self._settings.launcher, run, self._arguments, self._after)
        number = submission.submit(line, self._setup)
        taken = Submitted(
            job.name, job.stage, job.tasks, number, tuple(line), submission.log_pattern(job, run)
        )
        self.paper = Paper(self.paper.arguments, self.paper.folder, (*self.paper.jobs, taken))
        self.paper.write(run)
        self._after = [number, *beside]
        self.has_submitted = True

    def wait_for(self, keys: list[str]) -> None:
        """Lets the next job wait for these, which are in the queue already."""
        self._after = keys


def _missing(job: Job, tasks: Sequence[Task], redo: bool) -> list[str]:
    """The tasks of a job that have to be submitted; the empty one where it is no array."""
    wanted = [str(task) for task in job.tasks] or [""]
    kept = {task.task for task in tasks if task.state == "done" or (task.state in _ALIVE and not redo)}
    return [task for task in wanted if task not in kept]


def _alive(paper: Paper, run: Path) -> list[str]:
    return [task.key for tasks in queue.tasks(paper, run).values() for task in tasks if task.state in _ALIVE]


def _paper_of(run: Path) -> Paper:
    paper = submission.read_paper(run)
    if paper is None:
        raise ValueError(f"no chain of jobs was started in {run}: {submission.paper_path(run)} is not there")
    return paper


def _print_lines(settings: Settings, arguments: Sequence[str], jobs: Sequence[Job]) -> None:
    after: list[str] = []
    setup = shlex.quote(str(submission.setup_path(settings.run)))
    launcher = settings.launcher
    print(f"# {setup} will hold:", *submission.setup_lines(launcher.setup), sep="\n#     ")
    for job in jobs:
        launch_line = shlex.join([*launcher.mpirun, "-n", str(launcher.ranks[job.stage])])  # type: ignore[index]
        print(f"# {job.name}: {launch_line} python -m pipeline.{job.stage} ...")
        line = submission.sbatch_line(job, launcher, settings.run, arguments, after)
        print(f"SIMSURROGATE_SETUP={setup} {shlex.join(line)}")
        after = [f"<{job.name}>"]


def _show(paper: Paper, run: Path) -> None:
    found = queue.tasks(paper, run)
    table = Table(box=None, pad_edge=False)
    for column in ("job", "number", "state", ""):
        table.add_column(column, overflow="fold")
    for name, tasks in found.items():
        if len(tasks) > 1:
            states = [task.state for task in tasks]
            counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
            table.add_row(f"{name} ({len(tasks)} tasks)", tasks[-1].job.number, counts, "")
        for task in tasks:
            if len(tasks) == 1 or task.state in ("running", "failed"):
                table.add_row(task.name, task.key, task.state, task.why)
    console = Console(highlight=False, markup=False)
    console.print(table)
    failed = [task for tasks in found.values() for task in tasks if task.state == "failed"]
    for task in failed:
        console.print(f"{task.name} failed: {task.why}\n  its log: {task.log}", soft_wrap=True)
    if failed:
        console.print(f"`python -m pipeline.chain resume run={run}` submits what is missing", soft_wrap=True)
