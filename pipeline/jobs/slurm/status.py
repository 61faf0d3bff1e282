"""What has become of submitted jobs: Slurm's word while it knows them, and the run records."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.jobs.slurm.sbatch import Paper, Submitted
from pipeline.runs import records
from simsurrogate.errors import UserError

#: So many bytes of a log are looked through for an error.
_END_OF_LOG = 2**14

_ALIVE = {
    "PENDING": "pending",
    "REQUEUED": "pending",
    "REQUEUE_HOLD": "pending",
    "REQUEUE_FED": "pending",
    "SPECIAL_EXIT": "pending",
    "RESV_DEL_HOLD": "pending",
    "CONFIGURING": "running",
    "COMPLETING": "running",
    "RUNNING": "running",
    "RESIZING": "running",
    "SIGNALING": "running",
    "STAGE_OUT": "running",
    "STOPPED": "running",
    "SUSPENDED": "running",
}


@dataclass(frozen=True)
class Task:
    """One job, or one task of an array: `state` is pending, running, done, failed or cancelled."""

    job: Submitted
    task: str
    state: str
    why: str

    @property
    def name(self) -> str:
        """What a person calls it: `train`, `generate[3]`."""
        return f"{self.job.name}[{self.task}]" if self.task else self.job.name

    @property
    def key(self) -> str:
        """What Slurm calls it."""
        return f"{self.job.number}_{self.task}" if self.task else self.job.number

    @property
    def log(self) -> Path:
        """Where it writes what it prints."""
        text = self.job.log.replace("%A", self.job.number).replace("%j", self.job.number)
        return Path(text.replace("%a", self.task).replace("%%", "%"))


def tasks(paper: Paper, run: Path) -> dict[str, list[Task]]:
    """The newest attempt at each job and task, by the job's name.

    Raises:
        UserError: Slurm does not answer.
    """
    newest = paper.newest()
    numbers = {job.number for by_task in newest.values() for job in by_task.values()}
    shown = {key: facts for number in numbers for key, facts in _shown(number)}
    told = _records(run, {job.stage for by_task in newest.values() for job in by_task.values()})
    return {
        name: [_judged(job, task, shown, told) for task, job in sorted(by_task.items(), key=_number)]
        for name, by_task in newest.items()
    }


def cancel(keys: Iterable[str]) -> None:
    """Cancels jobs and tasks; those that have ended already stay as they are."""
    if words := list(keys):
        _ask(["scancel", "--quiet", *words])


def _number(pair: tuple[str, Submitted]) -> int:
    return int(pair[0] or 0)


def _judged(
    job: Submitted, task: str, shown: Mapping[str, Mapping[str, str]], told: Mapping[str, Mapping[str, Any]]
) -> Task:
    key = f"{job.number}_{task}" if task else job.number
    facts, record = shown.get(key), told.get(key, {})
    if facts is None:
        return Task(job, task, *_by_record(record))
    state, reason = facts["JobState"], facts["Reason"]
    if reason == "DependencyNeverSatisfied":
        return Task(job, task, "cancelled", "what it waits for failed")
    if state in _ALIVE:
        why = _progress(record) if _ALIVE[state] == "running" else _words(reason)
        return Task(job, task, _ALIVE[state], why)
    if state == "COMPLETED":
        return Task(job, task, "done", "")
    if state == "CANCELLED":
        never_ran = facts.get("NodeList", "") in ("", "(null)")
        return Task(job, task, "cancelled", "before it began" if never_ran else "while it ran")
    reason = record.get("reason", "") if record.get("outcome") in ("failed", "interrupted") else ""
    code, _, number = facts["ExitCode"].partition(":")
    ending = f"ended by signal {number}" if number not in ("", "0") else f"exit code {code}"
    failed = Task(job, task, "failed", reason or f"{_words(state)}, {ending}")
    return failed if reason else replace(failed, why=_told_in_log(failed.log) or failed.why)


def _told_in_log(log: Path) -> str:
    """The last error that a job told which ended before its record began; empty where there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END_OF_LOG))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    told = [line.partition("error: ")[2] for line in lines if re.match(r"(\[rank .*\] )?error: ", line)]
    return told[-1] if told else ""


def _by_record(record: Mapping[str, Any]) -> tuple[str, str]:
    """Of a job that Slurm has forgotten."""
    outcome = record.get("outcome")
    if outcome == "complete":
        return "done", ""
    if outcome in ("failed", "interrupted"):
        return "failed", str(record.get("reason", ""))
    return "failed", "ended without a word: killed, or its node failed" if outcome else "never began"


def _records(run: Path, stages: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """The newest record that each job or task wrote, by what Slurm calls it."""
    found: dict[str, Mapping[str, Any]] = {}
    for stage in stages:
        for record in records.of_stage(run, stage):
            slurm = record.get("slurm", {})
            if "array_task" in slurm:
                found[f"{slurm['array_job']}_{slurm['array_task']}"] = record
            elif "job" in slurm:
                found[slurm["job"]] = record
    return found


def _progress(record: Mapping[str, Any]) -> str:
    reached = record.get("progress")
    if not reached:
        return ""
    share = reached["done"] / reached["total"] if reached["total"] else 1.0
    return f"{reached['done']} of {reached['total']} {reached['unit']} ({share:.0%})"


def _shown(number: str) -> Iterator[tuple[str, dict[str, str]]]:
    """What scontrol shows of a job and each task of its array, by what Slurm calls them; nothing where
    Slurm has forgotten it.
    """
    answer = _ask(["scontrol", "show", "job", "--oneliner", number])
    if answer.returncode != 0:
        if "Invalid job id" in answer.stderr:
            return
        raise UserError(f"Slurm does not answer: {answer.stderr.strip()}; try again later")
    for line in answer.stdout.splitlines():
        # The first word of a name is Slurm's own; a job's name or command could hold a second.
        facts = dict(word.split("=", 1) for word in reversed(line.split()) if "=" in word)
        if "ArrayTaskId" not in facts:
            yield facts["JobId"], facts
            continue
        for task in _expanded(facts["ArrayTaskId"]):
            yield f"{facts['ArrayJobId']}_{task}", facts


def _expanded(tasks: str) -> Iterator[int]:
    """The numbers that Slurm's `0-3,7%2` stands for."""
    for part in tasks.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        last, _, step = last.partition(":")
        yield from range(int(first), int(last or first) + 1, int(step or 1))


def _words(name: str) -> str:
    """Slurm's NODE_FAIL and AssocGrpCpuLimit as words."""
    if name in ("None", "(null)"):
        return ""
    spaced = name.replace("_", " ") if name.isupper() else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return spaced.lower()


def _ask(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise UserError(f"Slurm does not answer: {error}; ask where its commands are on PATH") from None
