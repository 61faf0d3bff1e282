"""The start, the resumption and the cancellation of a chain of Slurm jobs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config import overrides
from pipeline.config.settings import Launcher
from pipeline.jobs.slurm import display, mail, sbatch, status
from pipeline.jobs.slurm.check import check_jobs
from pipeline.jobs.slurm.sbatch import ChainRecord, Job, SubmittedJob
from pipeline.jobs.slurm.status import LIVE_STATES, Task
from pipeline.runs import lock
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError

#: The run folder and the hash of each data set whose jobs a dry run of a sweep has printed.
_PRINTED_DATA: set[tuple[Path, str]] = set()


@dataclass(frozen=True)
class _Step:
    """One job of a chain, with the tasks to submit, to keep and to cancel.

    Attributes:
        job: the job with the tasks to submit; None if no task is missing.
        kept_tasks: Slurm's names of tasks that stay in the queue.
        dropped_tasks: Slurm's names of queued tasks that wait for a failed job.
    """

    job: Job | None
    kept_tasks: list[str]
    dropped_tasks: list[str]


def start(
    run: RunFolder,
    launcher: Launcher,
    arguments: Sequence[str],
    *,
    dry_run: bool,
    data: str,
    sweep: Sequence[str],
    is_first: bool,
) -> None:
    """Submit all jobs of a chain; with `dry_run`, print their commands.

    The models of a sweep on one data set share one chain: after the first run of the sweep, only the jobs of
    another model are submitted.

    Args:
        run: the run folder.
        launcher: the settings of the launcher.
        arguments: the command line of the stages.
        dry_run: whether the commands are only printed.
        data: the hash of the options that determine the data set.
        sweep: the command line of the sweep; empty without a sweep.
        is_first: whether this run is the first run of the sweep.

    Raises:
        UserError: the queue holds jobs of this run, or Slurm refuses a job; the jobs before the refused job
            are cancelled.
    """
    jobs = sbatch.jobs(launcher.parts, run.model if sweep else "")
    if dry_run:
        if is_first:
            _PRINTED_DATA.clear()
        is_printed = (run.path, data) in _PRINTED_DATA
        _PRINTED_DATA.add((run.path, data))
        kept = [f"<{job.name}>" for job in jobs if not job.model][-1:] if is_printed else []
        steps = [_Step(None, kept, [])] if is_printed else []
        steps += [_Step(job, [], []) for job in jobs if job.model or not is_printed]
        _print_commands(run, launcher, arguments, steps)
        return
    run.refuse_links()
    record = sbatch.read_chain_record(run)
    is_shared = not is_first and record is not None and (record.data, record.sweep) == (data, tuple(sweep))
    check_jobs([job for job in jobs if job.model or not is_shared], launcher, run, arguments)
    steps = [_Step(job, [], []) for job in jobs]
    with lock.wait_for(run.chain_lock):
        record = sbatch.read_chain_record(run)
        live_tasks = _live_tasks(record, run) if record and not is_shared else []
        if record and is_shared:
            steps = _steps_to_resume(jobs, status.tasks(record, run))
            record = replace(record, arguments=tuple(sweep))
        elif live_tasks:
            run_override = overrides.typed("run", run.path)
            raise UserError(
                f"the queue holds jobs of {run.path}: {', '.join(live_tasks)}. A run folder has one chain "
                f"at a time. Type `python -m pipeline.chain status {run_override}` to see the jobs, `cancel` "
                "to end the jobs, or choose another folder with run="
            )
        else:
            record = ChainRecord(tuple(arguments), os.getcwd(), (), data, tuple(sweep))
        _submit(run, launcher, steps, arguments, record)


def finish_submission(run: RunFolder, launcher: Launcher) -> None:
    """Submit the job that reports the end by mail; print the state of each job and the next command.

    Raises:
        UserError: Slurm refuses the job.
    """
    with lock.wait_for(run.chain_lock):
        mail.submit(launcher, run)
    display.show(run)
    run_override = overrides.typed("run", run.path)
    print(
        f"submitted {run.path}; you may log out. Next: python -m pipeline.chain status {run_override}, "
        "or wait instead of status"
    )


def check(run: RunFolder, launcher: Launcher, arguments: Sequence[str]) -> None:
    """Let Slurm check all jobs of a chain without submitting a job.

    Raises:
        UserError: Slurm refuses a job; the message contains the name of the job and Slurm's message.
    """
    run.refuse_links()
    check_jobs(sbatch.jobs(launcher.parts), launcher, run, arguments)


def resume(
    run: RunFolder,
    launcher: Launcher,
    arguments: Sequence[str],
    *,
    dry_run: bool,
    sweep: Sequence[str],
) -> bool:
    """Submit the jobs that failed, were cancelled or never started, and all jobs that wait for these jobs.

    With `dry_run`, print the commands of the jobs. In a sweep whose models share one chain, `sweep` is the
    command line of the sweep. Return whether a job was missing.

    Raises:
        UserError: Slurm refuses a job; the jobs before the refused job are cancelled. Or Slurm hides jobs.
    """
    run.refuse_links()
    with lock.wait_for(run.chain_lock):
        record, chain_status = display.chain_record(run), display.read(run)
        display.refuse_hidden_jobs(chain_status, "resume")
        jobs = sbatch.jobs(launcher.parts, run.model if record.sweep else "")
        tasks_by_job = chain_status.tasks_by_job
        steps = _steps_to_resume(jobs, tasks_by_job)
        if not any(step.job for step in steps):
            return False
        if dry_run:
            _print_commands(run, launcher, arguments, steps)
            return True
        check_jobs([step.job for step in steps if step.job], launcher, run, arguments)
        if record.sweep and any(step.job and not step.job.model for step in steps):
            # The jobs of the other models wait for jobs that are submitted again.
            names = {job.name for job in jobs}
            others = [task for name, tasks in tasks_by_job.items() if name not in names for task in tasks]
            status.cancel([task.key for task in others if task.state in LIVE_STATES], run)
        record = replace(record, arguments=tuple(sweep or arguments))
        _submit(run, launcher, steps, arguments, record)
    return True


def cancel(run: RunFolder) -> None:
    """Cancel all pending and running jobs of a chain."""
    record = display.chain_record(run)
    live_tasks = _live_tasks(record, run)
    status.cancel([*live_tasks, *([record.mail_job] if record.mail_job and live_tasks else [])], run)
    print(
        f"cancelled: {', '.join(live_tasks)}" if live_tasks else "no job of this chain is pending or running"
    )


def _steps_to_resume(jobs: Sequence[Job], tasks_by_job: Mapping[str, Sequence[Task]]) -> list[_Step]:
    """Return the steps; after the first job that is submitted again, all later jobs are submitted again."""
    steps: list[_Step] = []
    for job in jobs:
        is_later_job = any(step.job for step in steps)
        tasks = tasks_by_job.get(job.name, [])
        kept_tasks = [task for task in tasks if task.state in LIVE_STATES and not is_later_job]
        present_tasks = {task.task for task in tasks if task.state == "done"} | {
            task.task for task in kept_tasks
        }
        missing_names = [
            task for task in [str(task) for task in job.tasks] or [""] if task not in present_tasks
        ]
        missing_tasks = tuple(int(task) for task in missing_names if task)
        dropped_tasks = [task.key for task in tasks if task.state in LIVE_STATES and is_later_job]
        new_job = replace(job, tasks=missing_tasks) if missing_names else None
        steps.append(_Step(new_job, [task.key for task in kept_tasks], dropped_tasks))
    return steps


def _submit(
    run: RunFolder, launcher: Launcher, steps: Sequence[_Step], arguments: Sequence[str], record: ChainRecord
) -> None:
    """Submit the jobs, each dependent on the previous job; write the record with the jobs."""
    sbatch.write_setup(run, launcher.setup)
    dependencies: list[str] = []
    submitted_numbers: list[str] = []
    for step in steps:
        status.cancel(step.dropped_tasks, run)
        next_dependencies = list(step.kept_tasks)
        if step.job:
            job = step.job
            line = sbatch.sbatch_line(job, launcher, run, arguments, dependencies)
            try:
                job_number = sbatch.submit(line, run.job_setup)
            except UserError as error:
                status.cancel(submitted_numbers, run)
                numbers = ", ".join(submitted_numbers)
                cancelled_text = f"\nthe earlier jobs are cancelled: {numbers}" if numbers else ""
                raise UserError(f"{error}{cancelled_text}") from None
            submitted_numbers.append(job_number)
            log = sbatch.log_pattern(job, run)
            new_job = SubmittedJob(job.name, job.stage, job.tasks, job_number, tuple(line), log)
            record = replace(record, jobs=(*record.jobs, new_job))
            record.write(run)
            next_dependencies.insert(0, job_number)
        dependencies = next_dependencies


def _print_commands(
    run: RunFolder, launcher: Launcher, arguments: Sequence[str], steps: Sequence[_Step]
) -> None:
    dependencies: list[str] = []
    keys: list[str] = []
    setup = shlex.quote(str(run.job_setup))
    if all(step.job for step in steps):
        print(f"# {setup} will hold:", *sbatch.setup_lines(launcher.setup), sep="\n#     ")
    if launcher.mail:
        print(f"# report: one mail to {launcher.mail} after the end of all jobs")
    for step in steps:
        next_dependencies = list(step.kept_tasks)
        if job := step.job:
            launch_line = [*launcher.launch_line(job.stage), "-n", str(launcher.ranks[job.kind])]
            print(f"# {job.name}: {shlex.join(launch_line)} python -m pipeline.{job.stage} ...")
            line = sbatch.sbatch_line(job, launcher, run, arguments, dependencies)
            print(f"SIMSURROGATE_SETUP={setup} {shlex.join(line)}")
            next_dependencies.insert(0, f"<{job.name}>")
        dependencies = next_dependencies
        keys += dependencies
    if launcher.mail and not any(step.job and step.job.model for step in steps):
        print(f"SIMSURROGATE_SETUP={setup} {shlex.join(mail.line(launcher, run, keys))}")


def _live_tasks(record: ChainRecord, run: RunFolder) -> list[str]:
    tasks = (task for tasks in status.tasks(record, run).values() for task in tasks)
    return [task.key for task in tasks if task.state in LIVE_STATES]
