"""The display of a chain's jobs: a table, the failures with their logs, and the next command; or JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.config import overrides
from pipeline.jobs.slurm import models, sbatch, status
from pipeline.jobs.slurm.sbatch import ChainRecord
from pipeline.jobs.slurm.status import LIVE_STATES, Task
from pipeline.runs import cost, records
from pipeline.runs.cost import Cost
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError

#: The number of the JSON schema, which changes when a key changes.
_SCHEMA = 2
#: The width of lines in a file or a pipe, where lines are not folded.
_WIDE = 1000


@dataclass(frozen=True)
class ChainStatus:
    """The state of all jobs of a chain, from the same moment."""

    run: RunFolder
    owner: str
    tasks_by_job: dict[str, list[Task]]

    @property
    def tasks(self) -> list[Task]:
        """All jobs and tasks."""
        return [task for tasks in self.tasks_by_job.values() for task in tasks]

    @property
    def state(self) -> str:
        """The state of the chain: unknown, running or pending until all jobs have ended.

        A chain that has ended is failed or cancelled if one of its jobs is, else done.
        """
        states = {task.state for task in self.tasks}
        order = ("unknown", "running", "pending", "failed", "cancelled", "done")
        return next((state for state in order if state in states), "cancelled")

    @property
    def has_ended(self) -> bool:
        """Whether no job is pending, running or hidden."""
        return self.state not in LIVE_STATES

    @property
    def reports(self) -> list[str]:
        """The paths of the reports of a chain that is done, one for each model."""
        if self.state != "done":
            return []
        paths = [
            str(record["report"])
            for record in records.of_stage(self.run.path, "evaluate")
            if "report" in record
        ]
        return list(dict.fromkeys(paths))


def chain_record(run: RunFolder) -> ChainRecord:
    """Return the record of a chain.

    Raises:
        UserError: no chain of jobs was started in this folder.
    """
    record = sbatch.read_chain_record(run)
    if record is None:
        raise UserError(
            f"no chain of jobs was started in {run.path}: {run.chain_record} does not exist. "
            "Type squeue to see jobs that were submitted by hand"
        )
    return record


def read(run: RunFolder) -> ChainStatus:
    """Return the state of a chain.

    Raises:
        UserError: no chain of jobs was started in this folder, or Slurm does not answer.
    """
    record = chain_record(run)
    return ChainStatus(run, status.owner(run), status.tasks(record, run))


def show(run: RunFolder) -> None:
    """Print the state of each job; for failed jobs, also the reason and the log."""
    print_status(read(run), console())


def show_json(run: RunFolder) -> None:
    """Print the state of each job as one JSON object; docs/cluster.md describes the keys."""
    chain = read(run)
    costs = _costs(chain)
    content = {
        "schema": _SCHEMA,
        "run": str(run.path),
        "owner": chain.owner,
        "state": chain.state,
        "reports": chain.reports,
        **_cost_entries(cost.total(costs.values())),
        "jobs": [
            {
                "name": task.job.name,
                "stage": task.job.stage,
                "task": int(task.task) if task.task else None,
                "slurm_job": task.key,
                "state": task.state,
                "reason": task.reason,
                "elapsed_seconds": task.elapsed_seconds,
                "limit_seconds": task.limit_seconds,
                "restarts": task.restarts,
                "retries": task.retries,
                "warning": task.warning or None,
                **_cost_entries(costs.get(task.key)),
                "expected_start": task.expected_start or None,
                "log": str(task.log) if task.log.exists() else None,
            }
            for task in chain.tasks
        ],
    }
    print(json.dumps(content, indent=2))


def _costs(chain: ChainStatus) -> dict[str, Cost]:
    """Return the cost of each job in the chain's records, by Slurm's name."""
    stages = {task.job.stage for task in chain.tasks}
    return cost.by_job(record for stage in stages for record in records.of_stage(chain.run.path, stage))


def _cost_entries(job_cost: Cost | None) -> dict[str, float | None]:
    return {
        "core_hours": round(job_cost.core_hours, 6) if job_cost else None,
        "energy_joules": job_cost.energy_joules if job_cost else None,
    }


def console() -> Console:
    """Return the console of the output; lines are folded on a terminal only."""
    terminal_console = Console(highlight=False, markup=False)
    if terminal_console.is_terminal:
        return terminal_console
    return Console(highlight=False, markup=False, width=_WIDE)


def print_status(chain: ChainStatus, output: Console) -> None:
    """Print the table of the jobs, the failures and the next command, with paths that are never folded."""
    output.print(f"{chain.run.path}:", soft_wrap=True)
    output.print(_table(chain))
    if model_table := models.table(chain.run, chain.tasks_by_job):
        output.print(model_table)
    for line in _lines(chain):
        output.print(line, soft_wrap=True)


def render(chain: ChainStatus) -> RenderableType:
    """Return the same as `print_status` prints, for a display that changes."""
    model_table = models.table(chain.run, chain.tasks_by_job)
    tables = [_table(chain), *([model_table] if model_table else [])]
    return Group(Text(f"{chain.run.path}:"), *tables, *map(Text, _lines(chain)))


def refuse_hidden_jobs(chain: ChainStatus, command: str) -> None:
    """Refuse a command that needs the states of all jobs.

    Raises:
        UserError: Slurm hides jobs from this user.
    """
    if chain.state == "unknown":
        raise UserError(
            f"Slurm shows the jobs of {chain.run.path} to {chain.owner} only. `{command}` needs the states "
            f"of all jobs. Type `{command}` as {chain.owner}"
        )


def _lines(chain: ChainStatus) -> list[str]:
    """Return the failures with their logs, and the next command."""
    run, lines = chain.run, []
    for task in chain.tasks:
        if task.state == "failed":
            lines.append(f"{task.name} failed: {task.reason}")
            if task.log.exists():
                lines.append(f"  its log: {task.log}")
        if task.warning:
            lines.append(f"{task.name} warning: {task.warning}")
    lines.append(f"logs: {run.job_logs}")
    states = {task.state for task in chain.tasks}
    if "unknown" in states:
        lines.append(f"Slurm shows the jobs to {chain.owner} only. Ask {chain.owner} for their state")
    elif states & {"failed", "cancelled"}:
        lines.append(
            f"`python -m pipeline.chain resume {overrides.typed('run', run.path)}` submits the missing jobs; "
            "KEY=VALUE after the command changes a setting"
        )
    # The table of a sweep's models holds their reports.
    is_sweep = any(task.job.name != task.job.stage for task in chain.tasks if task.job.stage == "train")
    return [*lines, *(f"report: {report}" for report in chain.reports if not is_sweep)]


def _task_text(task: Task) -> str:
    """Return the state of a task with its reason and its expected start."""
    start = f"expected start {task.expected_start}" if task.expected_start else ""
    return ", ".join(text for text in (task.reason, start) if text)


def _table(chain: ChainStatus) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("job", "number", "elapsed", "limit", "restarts", "state", ""):
        table.add_column(column, overflow="fold")
    for name, tasks in chain.tasks_by_job.items():
        if len(tasks) > 1:
            states = [task.state for task in tasks]
            counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
            waits = dict.fromkeys(_task_text(task) for task in tasks if task.state == "pending")
            limit = _duration(tasks[0].limit_seconds)
            text = "; ".join(wait for wait in waits if wait)
            table.add_row(f"{name} ({len(tasks)} tasks)", tasks[-1].job.number, "", limit, "", counts, text)
        for task in tasks:
            if len(tasks) == 1 or task.state in ("running", "failed", "cancelled"):
                table.add_row(
                    task.name,
                    task.key,
                    _duration(task.elapsed_seconds),
                    _duration(task.limit_seconds),
                    _restarts_text(task),
                    task.state,
                    "" if task.state == "failed" else _task_text(task),
                )
    return table


def _restarts_text(task: Task) -> str:
    """Return the number of restarts, and the number of these restarts after a failure."""
    retries = f" ({task.retries} after a failure)" if task.retries else ""
    return f"{task.restarts or ''}{retries}"


def _duration(seconds: int | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=seconds))
