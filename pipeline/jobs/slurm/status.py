"""The state of a chain's jobs: from Slurm, its accounting, the run records and the logs."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.jobs.slurm import log_end, queries, retries
from pipeline.jobs.slurm.queries import Properties
from pipeline.jobs.slurm.sbatch import ChainRecord, SubmittedJob
from pipeline.runs import records
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError

#: The states of jobs that have not ended. Slurm hides an `unknown` job from this user.
LIVE_STATES = ("pending", "running", "unknown")

#: The states of tasks by Slurm's states of jobs that have not ended.
_STATES = {
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
    """A job or a task of an array.

    Attributes:
        job: the submitted job.
        task: the number of the task in the array; empty for a job without an array.
        state: pending, running, done, failed, cancelled or unknown.
        reason: why the task waits, failed or was cancelled; the progress of a running task.
        elapsed_seconds: the time since the start, or from start to end; None before the start.
        limit_seconds: the time limit; None without a limit, and if Slurm no longer knows the job.
        restarts: how often the job was requeued.
        retries: how often the job was requeued after a failure.
        warning: the warning in the run record.
        expected_start: Slurm's estimate for a pending task; empty without an estimate.
    """

    job: SubmittedJob
    task: str
    state: str
    reason: str
    elapsed_seconds: int | None = None
    limit_seconds: int | None = None
    restarts: int = 0
    expected_start: str = ""
    retries: int = 0
    warning: str = ""

    @property
    def name(self) -> str:
        """The name in tables and messages: `train`, `generate[3]`."""
        return f"{self.job.name}[{self.task}]" if self.task else self.job.name

    @property
    def key(self) -> str:
        """Slurm's name of the job or task."""
        return _key(self.job, self.task)

    @property
    def log(self) -> Path:
        """The path of the log: standard output and standard error."""
        return _log(self.job, self.task)


def tasks(chain: ChainRecord, run: RunFolder) -> dict[str, list[Task]]:
    """Return the newest attempt at each job and task, by the job's name.

    Raises:
        UserError: Slurm does not answer.
    """
    newest_jobs = chain.newest_jobs()
    jobs_by_key = {
        _key(job, task): job for jobs_by_task in newest_jobs.values() for task, job in jobs_by_task.items()
    }
    properties_by_key: dict[str, Properties] = {}
    for number in sorted({job.number for job in jobs_by_key.values()}):
        properties_by_key |= queries.current_properties(number)
    missing_numbers = {job.number for key, job in jobs_by_key.items() if key not in properties_by_key}
    # The accounting keeps lost jobs as running for ever.
    properties_by_key = {
        key: properties
        for key, properties in queries.accounted_properties(missing_numbers).items()
        if properties["JobState"] not in _STATES
    } | properties_by_key
    is_hidden = bool(missing_numbers) and _hides_jobs(run)
    records_by_key = _newest_records(run, {job.stage for job in jobs_by_key.values()})

    def task_with_state(job: SubmittedJob, task: str) -> Task:
        key = _key(job, task)
        record = records_by_key.get(key, {})
        if key in properties_by_key:
            known_task = _task_in_slurm(job, task, properties_by_key[key], record)
        else:
            known_task = _task_outside_slurm(job, task, record, owner(run) if is_hidden else "")
        warning = str(record.get("warning", ""))
        return replace(known_task, retries=retries.count(run, key), warning=warning)

    return {
        name: [
            task_with_state(job, task)
            for task, job in sorted(jobs_by_task.items(), key=lambda pair: int(pair[0] or 0))
        ]
        for name, jobs_by_task in newest_jobs.items()
    }


def cancel(keys: Sequence[str], run: RunFolder) -> None:
    """Cancel jobs and tasks of a chain that have not ended.

    Raises:
        UserError: Slurm refuses.
    """
    if messages := queries.cancel(keys):
        raise UserError(
            f"Slurm refused to cancel jobs of {owner(run)}: {messages}. Only the owner of a job may cancel "
            f"the job. Type `cancel` as {owner(run)}"
        )


def owner(run: RunFolder) -> str:
    """Return the name of the user who submitted the newest jobs of a chain."""
    user = run.chain_record.stat().st_uid
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _hides_jobs(run: RunFolder) -> bool:
    """Return whether Slurm hides a chain's jobs from this user, because another user submitted the jobs."""
    return os.geteuid() not in (0, run.chain_record.stat().st_uid) and queries.hides_jobs()


def _key(job: SubmittedJob, task: str) -> str:
    return f"{job.number}_{task}" if task else job.number


def _log(job: SubmittedJob, task: str) -> Path:
    values = {"%A": job.number, "%j": job.number, "%a": task, "%%": "%"}
    return Path(re.sub("%[Aja%]", lambda match: values[match[0]], job.log))


def _task_in_slurm(job: SubmittedJob, task: str, properties: Properties, record: Mapping[str, Any]) -> Task:
    """Return a task that Slurm or its accounting knows."""
    state, reason = _state_in_slurm(job, task, properties, record)
    # Slurm's estimate for a job that waits for another job ignores the other job.
    is_estimated = state == "pending" and properties.get("Reason") != "Dependency"
    start = properties.get("StartTime", "Unknown") if is_estimated else "Unknown"
    return Task(
        job,
        task,
        state,
        reason,
        _seconds(properties["RunTime"]) if state != "pending" and _is_started(properties) else None,
        _seconds(properties["TimeLimit"]),
        int(properties.get("Restarts") or record.get("slurm", {}).get("restarts", 0)),
        "" if start == "Unknown" else start,
    )


def _state_in_slurm(
    job: SubmittedJob, task: str, properties: Properties, record: Mapping[str, Any]
) -> tuple[str, str]:
    state, reason = properties["JobState"], properties.get("Reason", "")
    if reason == "DependencyNeverSatisfied":
        return "cancelled", "the job before it failed"
    if state in _STATES:
        text = _progress_text(record) if _STATES[state] == "running" else _lower_case_words(reason)
        return _STATES[state], text
    if state == "COMPLETED" and record.get("outcome") == "complete":
        return "done", ""
    if state == "CANCELLED":
        return "cancelled", "while it was running" if _is_started(properties) else "before it started"
    return "failed", _failure_text(job, task, properties, record)


def _is_started(properties: Properties) -> bool:
    """Return whether a job has or had nodes. Slurm counts the time of other jobs from 1970."""
    return properties.get("NodeList", "") not in ("", "(null)")


def _failure_text(job: SubmittedJob, task: str, properties: Properties, record: Mapping[str, Any]) -> str:
    """Return the reason of a failure: Slurm's cause, or the stage's own reason, or the exit code."""
    state = properties["JobState"]
    if state in log_end.CAUSES:
        return log_end.CAUSES[state]
    end = log_end.read(_log(job, task))
    if end and end.is_by_slurm:
        return end.reason
    reason = record.get("reason", "") if record.get("outcome") in ("failed", "interrupted") else ""
    if state == "COMPLETED":
        return ": ".join(text for text in (f"ended without completing {job.stage}", reason) if text)
    return reason or (end.reason if end else _exit_text(state, properties["ExitCode"]))


def _exit_text(state: str, code_and_signal: str) -> str:
    """Return the end of a job in words. A shell reports SIGKILL as exit code 137."""
    exit_code, _, signal_number = code_and_signal.partition(":")
    if signal_number == "9" or exit_code == "137":
        return "killed (SIGKILL). The usual cause is too little memory: request more memory"
    if signal_number not in ("", "0"):
        return f"{_lower_case_words(state)}, ended by signal {signal_number}"
    return f"{_lower_case_words(state)}, exit code {exit_code}"


def _task_outside_slurm(job: SubmittedJob, task: str, record: Mapping[str, Any], hiding_owner: str) -> Task:
    """Return a task that Slurm no longer knows, or hides because `hiding_owner` submitted the job."""
    state, reason = _state_in_files(job, task, record, hiding_owner)
    restarts = int(record.get("slurm", {}).get("restarts", 0))
    elapsed_seconds = None
    if "started" in record and "ended" in record:
        start, end = (datetime.fromisoformat(record[name]) for name in ("started", "ended"))
        elapsed_seconds = int((end - start).total_seconds())
    return Task(job, task, state, reason, elapsed_seconds, restarts=restarts)


def _state_in_files(
    job: SubmittedJob, task: str, record: Mapping[str, Any], hiding_owner: str
) -> tuple[str, str]:
    """Return state and reason from the run record and the log of a job."""
    outcome = record.get("outcome")
    if outcome == "complete":
        return "done", ""
    if hiding_owner and outcome != "failed":
        return "unknown", _progress_text(record) or f"Slurm shows the job to {hiding_owner} only"
    end = log_end.read(_log(job, task))
    if end and (end.is_by_slurm or outcome not in ("failed", "interrupted")):
        return end.state, end.reason
    if outcome:
        return "failed", str(record.get("reason", "ended without a message: killed, or its node failed"))
    if _log(job, task).exists():
        return "failed", f"ended before {job.stage} began. The log may contain the reason"
    return "cancelled", "before it started"


def _newest_records(run: RunFolder, stages: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Return the newest record of each job or task, by Slurm's name."""
    newest_records: dict[str, Mapping[str, Any]] = {}
    for stage in stages:
        for record in records.of_stage(run.path, stage):
            slurm = record.get("slurm", {})
            if "array_task" in slurm:
                newest_records[f"{slurm['array_job']}_{slurm['array_task']}"] = record
            elif "job" in slurm:
                newest_records[slurm["job"]] = record
    return newest_records


def _progress_text(record: Mapping[str, Any]) -> str:
    progress = record.get("progress")
    if not progress:
        return ""
    share = progress["done"] / progress["total"] if progress["total"] else 1.0
    return f"{progress['done']} of {progress['total']} {progress['unit']} ({share:.0%})"


def _lower_case_words(name: str) -> str:
    """Return a name of Slurm, such as NODE_FAIL or AssocGrpCpuLimit, as lower-case words."""
    if name in ("None", "(null)"):
        return ""
    spaced_name = name.replace("_", " ") if name.isupper() else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return spaced_name.lower()


def _seconds(text: str) -> int | None:
    """Return the seconds of Slurm's notation [DAYS-]HH:MM:SS; None for UNLIMITED and other words."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return int(timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds())
