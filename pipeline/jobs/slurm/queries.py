"""The commands of Slurm that show and cancel jobs, and show the cluster."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence

from simsurrogate.errors import UserError

#: scontrol's properties of a job: JobState, Reason, ExitCode and so on.
Properties = Mapping[str, str]

#: scontrol's names of sacct's columns.
_ACCOUNTED_PROPERTIES = {
    "JobId": "JobID",
    "JobState": "State",
    "ExitCode": "ExitCode",
    "NodeList": "NodeList",
    "RunTime": "Elapsed",
    "TimeLimit": "Timelimit",
}


def current_properties(job_number: str) -> dict[str, Properties]:
    """Return scontrol's properties of a job and of each task of its array, by Slurm's names.

    The result is empty for a job that Slurm no longer knows, or hides from this user.

    Raises:
        UserError: Slurm does not answer.
    """
    result = _run(["scontrol", "show", "job", "--oneliner", job_number])
    if result.returncode != 0:
        if "Invalid job id" in result.stderr:
            return {}
        raise UserError(f"Slurm does not answer: {result.stderr.strip()}. Type the command again later")
    properties_by_key: dict[str, Properties] = {}
    for line in result.stdout.splitlines():
        # The first KEY=VALUE of a key is Slurm's; the name or command of a job may repeat the key.
        properties = dict(word.split("=", 1) for word in reversed(line.split()) if "=" in word)
        if "ArrayTaskId" not in properties:
            properties_by_key[properties["JobId"]] = properties
            continue
        for task in _task_numbers(properties["ArrayTaskId"]):
            properties_by_key[f"{properties['ArrayJobId']}_{task}"] = properties
    return properties_by_key


def accounted_properties(job_numbers: Collection[str]) -> dict[str, Properties]:
    """Return the properties of jobs from Slurm's accounting, by Slurm's names; empty without accounting."""
    if not job_numbers:
        return {}
    columns = ",".join(_ACCOUNTED_PROPERTIES.values())
    command = ["sacct", "--noheader", "--parsable2", "--allocations", f"--format={columns}"]
    return parse_accounting(output(*command, f"--jobs={','.join(sorted(job_numbers))}"))


def parse_accounting(table: str) -> dict[str, Properties]:
    """Return the properties in the output of sacct, by Slurm's names of jobs and tasks.

    Tasks that were cancelled together before they started share one line: `12_[0-3]`.
    """
    properties_by_key: dict[str, Properties] = {}
    for line in table.splitlines():
        properties = dict(zip(_ACCOUNTED_PROPERTIES, line.split("|"), strict=True))
        properties["JobState"] = properties["JobState"].split()[0]  # CANCELLED by 1000
        properties["NodeList"] = properties["NodeList"].replace("None assigned", "")
        number, _, tasks = properties["JobId"].partition("_")
        keys = [f"{number}_{task}" for task in _task_numbers(tasks.strip("[]"))] if tasks else [number]
        properties_by_key |= dict.fromkeys(keys, properties)
    return properties_by_key


def hides_jobs() -> bool:
    """Return whether Slurm shows jobs to their owners only (`PrivateData=jobs`)."""
    return "jobs" in config_value(_run(["scontrol", "show", "config"]).stdout, "PrivateData")


def config_value(config: str, key: str) -> str:
    """Return a value in the output of `scontrol show config`; empty without the key."""
    match = re.search(rf"^{key}\s*=\s*(.*)", config, re.MULTILINE)
    return match[1].strip() if match else ""


def output(*command: str) -> str:
    """Return the output of a command of Slurm; empty if the command is missing, fails or does not answer."""
    try:
        result = _run(list(command))
    except UserError:
        return ""
    return result.stdout if result.returncode == 0 else ""


def cancel(keys: Sequence[str]) -> str:
    """Cancel jobs and tasks that have not ended; return the messages of Slurm about jobs that live on."""
    if not keys:
        return ""
    result = _run(["scancel", "--quiet", *keys])
    harmless = ("Invalid job id", "already completing or completed")
    lines = [line.removeprefix("scancel: error: ") for line in result.stderr.splitlines()]
    messages = [line for line in lines if line and not any(text in line for text in harmless)]
    return "; ".join(messages)


def change_dependency(job_number: str, dependency: str) -> bool:
    """Let a pending job wait for other jobs; return False if the job is not pending."""
    command = ["scontrol", "update", f"JobId={job_number}", f"Dependency={dependency}"]
    return _run(command).returncode == 0


def _task_numbers(tasks: str) -> Iterator[int]:
    """Yield the task numbers of Slurm's notation `0-3,7%2`."""
    for task_range in tasks.partition("%")[0].split(","):
        first, _, last = task_range.partition("-")
        last, _, step = last.partition(":")
        yield from range(int(first), int(last or first) + 1, int(step or 1))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise UserError(
            f"Slurm does not answer: {error}. Slurm's commands have to be on PATH. Type the command "
            "on a machine with Slurm"
        ) from None
