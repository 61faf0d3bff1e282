"""The state of submitted jobs: from Slurm, or from the run records if Slurm no longer knows the job."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.jobs.slurm.sbatch import ChainRecord, SubmittedJob
from pipeline.runs import records
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError

#: The length (bytes) of the end of a log that is searched for an error.
_LOG_TAIL_BYTES = 2**14

_LIVE_STATES = {
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


#: scontrol's properties of a job: JobState, Reason, ExitCode and so on.
Properties = Mapping[str, str]


@dataclass(frozen=True)
class Task:
    """A job or a task of an array; `state` is pending, running, done, failed or cancelled."""

    job: SubmittedJob
    task: str
    state: str
    reason: str

    @property
    def name(self) -> str:
        """The name in tables and messages: `train`, `generate[3]`."""
        return f"{self.job.name}[{self.task}]" if self.task else self.job.name

    @property
    def key(self) -> str:
        """Slurm's name of the job or task."""
        return f"{self.job.number}_{self.task}" if self.task else self.job.number

    @property
    def log(self) -> Path:
        """The log: standard output and standard error."""
        text = self.job.log.replace("%A", self.job.number).replace("%j", self.job.number)
        return Path(text.replace("%a", self.task).replace("%%", "%"))


def tasks(chain: ChainRecord, run: RunFolder) -> dict[str, list[Task]]:
    """Return the newest attempt at each job and task, by the job's name.

    Raises:
        UserError: Slurm does not answer.
    """
    newest_jobs = chain.newest_jobs()
    job_numbers = {job.number for jobs_by_task in newest_jobs.values() for job in jobs_by_task.values()}
    properties_by_key = {key: properties for number in job_numbers for key, properties in _properties(number)}
    stages = {job.stage for jobs_by_task in newest_jobs.values() for job in jobs_by_task.values()}
    records_by_key = _newest_records(run, stages)
    return {
        name: [
            _task_with_state(job, task, properties_by_key, records_by_key)
            for task, job in sorted(jobs_by_task.items(), key=_task_number)
        ]
        for name, jobs_by_task in newest_jobs.items()
    }


def cancel(keys: Iterable[str]) -> None:
    """Cancel jobs and tasks that have not ended."""
    if key_list := list(keys):
        _run_slurm_command(["scancel", "--quiet", *key_list])


def _task_number(pair: tuple[str, SubmittedJob]) -> int:
    return int(pair[0] or 0)


def _task_with_state(
    job: SubmittedJob,
    task: str,
    properties_by_key: Mapping[str, Properties],
    records_by_key: Mapping[str, Mapping[str, Any]],
) -> Task:
    """Return a task with its state, from Slurm's properties and the run records by Slurm's names."""
    key = f"{job.number}_{task}" if task else job.number
    properties, record = properties_by_key.get(key), records_by_key.get(key, {})
    if properties is None:
        return Task(job, task, *_state_in_record(record))
    state, reason = properties["JobState"], properties["Reason"]
    if reason == "DependencyNeverSatisfied":
        return Task(job, task, "cancelled", "the job before it failed")
    if state in _LIVE_STATES:
        text = _progress_text(record) if _LIVE_STATES[state] == "running" else _lower_case_words(reason)
        return Task(job, task, _LIVE_STATES[state], text)
    if state == "COMPLETED":
        return Task(job, task, "done", "")
    if state == "CANCELLED":
        is_unstarted = properties.get("NodeList", "") in ("", "(null)")
        return Task(job, task, "cancelled", "before it started" if is_unstarted else "while it was running")
    reason = record.get("reason", "") if record.get("outcome") in ("failed", "interrupted") else ""
    exit_code, _, signal_number = properties["ExitCode"].partition(":")
    ending = (
        f"ended by signal {signal_number}" if signal_number not in ("", "0") else f"exit code {exit_code}"
    )
    failed_task = Task(job, task, "failed", reason or f"{_lower_case_words(state)}, {ending}")
    if not reason:
        failed_task = replace(failed_task, reason=_error_in_log(failed_task.log) or failed_task.reason)
    return failed_task


def _error_in_log(log: Path) -> str:
    """Return the last error in the log of a job that ended before its record began, or an empty text."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    errors = [line.partition("error: ")[2] for line in lines if re.match(r"(\[rank .*\] )?error: ", line)]
    return errors[-1] if errors else ""


def _state_in_record(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return state and reason from the run record of a job that Slurm no longer knows."""
    outcome = record.get("outcome")
    if outcome == "complete":
        return "done", ""
    if outcome in ("failed", "interrupted"):
        return "failed", str(record.get("reason", ""))
    return "failed", "ended without a message: killed, or its node failed" if outcome else "never started"


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


def _properties(job_number: str) -> Iterator[tuple[str, Properties]]:
    """Yield scontrol's properties of a job and of each task of its array, by Slurm's names.

    Nothing is yielded for a job that Slurm no longer knows.
    """
    result = _run_slurm_command(["scontrol", "show", "job", "--oneliner", job_number])
    if result.returncode != 0:
        if "Invalid job id" in result.stderr:
            return
        raise UserError(f"Slurm does not answer: {result.stderr.strip()}. Type the command again later")
    for line in result.stdout.splitlines():
        # The first KEY=VALUE of a key is Slurm's; the name or command of a job may repeat the key.
        properties = dict(word.split("=", 1) for word in reversed(line.split()) if "=" in word)
        if "ArrayTaskId" not in properties:
            yield properties["JobId"], properties
            continue
        for task in _task_numbers(properties["ArrayTaskId"]):
            yield f"{properties['ArrayJobId']}_{task}", properties


def _task_numbers(tasks: str) -> Iterator[int]:
    """Yield the task numbers of Slurm's notation `0-3,7%2`."""
    for task_range in tasks.partition("%")[0].split(","):
        first, _, last = task_range.partition("-")
        last, _, step = last.partition(":")
        yield from range(int(first), int(last or first) + 1, int(step or 1))


def _lower_case_words(name: str) -> str:
    """Return a name of Slurm, such as NODE_FAIL or AssocGrpCpuLimit, as lower-case words."""
    if name in ("None", "(null)"):
        return ""
    spaced_name = name.replace("_", " ") if name.isupper() else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return spaced_name.lower()


def _run_slurm_command(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise UserError(
            f"Slurm does not answer: {error}. Slurm's commands have to be on PATH. Type the command "
            "on a machine with Slurm"
        ) from None
