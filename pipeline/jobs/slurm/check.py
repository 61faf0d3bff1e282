"""The check of a chain's jobs by Slurm, before any job is submitted."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Sequence
from functools import cache

from pipeline.config.settings import Launcher
from pipeline.jobs.slurm import queries, sbatch
from pipeline.jobs.slurm.sbatch import Job
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError

#: Slurm's message about a job that needs more than the nodes have, or more than the available nodes have.
_NO_NODES = "Requested node configuration is not available"
_AVAILABLE_STATES = ("idle", "allocated", "mixed", "completing", "planned", "reserved")


def check_jobs(jobs: Sequence[Job], launcher: Launcher, run: RunFolder, arguments: Sequence[str]) -> None:
    """Let Slurm check all jobs without submitting a job.

    Raises:
        UserError: the array has more tasks than Slurm allows, the time of a job is above the limit of its
            partition, sbatch is not installed, or Slurm refuses a job. The message names the job.
    """
    for job in jobs:
        try:
            _check_array_size(job)
            _test(job, launcher, run, arguments)
            _check_time_limit(job, launcher)
        except UserError as error:
            raise UserError(f"{job.name}: {error}\nno job was submitted") from None


def _test(job: Job, launcher: Launcher, run: RunFolder, arguments: Sequence[str]) -> None:
    """Call `sbatch --test-only`, which refuses jobs that sbatch would let wait for ever."""
    program, *options = sbatch.sbatch_line(job, launcher, run, arguments, [])
    try:
        sbatch.submit([program, "--test-only", *options], run.job_setup)
    except UserError as error:
        nodes = _unavailable_nodes()
        if _NO_NODES not in str(error) or not nodes:
            raise
        print(
            f"note: {job.name}: {_NO_NODES} now. These nodes are not available: {','.join(nodes)}. The job "
            "may have to wait for them",
            file=sys.stderr,
        )


def _unavailable_nodes() -> list[str]:
    """Return the nodes that get no job now, such as drained nodes and nodes that do not answer."""
    lines = queries.output("sinfo", "--noheader", "--format=%N %T").splitlines()
    states_by_nodes = dict(line.split() for line in lines if len(line.split()) == 2)
    # The suffixes mark nodes that save power or that are planned for another job.
    return [
        nodes for nodes, state in states_by_nodes.items() if state.rstrip("~#+-") not in _AVAILABLE_STATES
    ]


def _check_array_size(job: Job) -> None:
    config = queries.output("scontrol", "show", "config") if job.tasks else ""
    size = int(queries.config_value(config, "MaxArraySize") or sys.maxsize)
    if job.tasks and max(job.tasks) >= size:
        raise UserError(
            f"launcher.parts={max(job.tasks) + 1} needs a job array with as many tasks, and this Slurm has "
            f"MaxArraySize={size}. At most {size} tasks are allowed. Type launcher.parts={size}, or fewer"
        )


def _check_time_limit(job: Job, launcher: Launcher) -> None:
    """Refuse a time above the limit of the partition, which sbatch accepts on many clusters.

    A quality of service may lift the limit of a partition.
    """
    options = sbatch.options_of_user(job, launcher)
    if "time" not in options or "qos" in options:
        return
    names = str(options.get("partition") or os.environ.get("SBATCH_PARTITION", ""))
    limits: dict[str, str] = {}
    for line in _partitions().splitlines():
        properties = dict(word.split("=", 1) for word in line.split() if "=" in word)
        name = properties["PartitionName"]
        if name in names.split(",") or (not names and properties.get("Default") == "YES"):
            limits[name] = properties.get("MaxTime", "UNLIMITED")
    longest = max(limits.values(), key=minutes_of, default="UNLIMITED")
    if minutes_of(str(options["time"])) > minutes_of(longest):
        raise UserError(
            f"time={options['time']} is longer than the limit {longest} of the partition {','.join(limits)}. "
            f"The job would wait for ever. Type ++launcher.sbatch.{job.kind}.time={longest}, or choose "
            f"another partition with ++launcher.sbatch.{job.kind}.partition="
        )


@cache
def _partitions() -> str:
    """Return Slurm's list of partitions, which this process requests once."""
    return queries.output("scontrol", "show", "partition", "--oneliner")


def minutes_of(text: str) -> float:
    """Return the minutes of a time in Slurm's notation: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    days, has_days, clock = text.rpartition("-")
    if not re.fullmatch(r"\d*-?\d+(:\d+){0,2}", text):
        return math.inf
    numbers = [int(number) for number in clock.split(":")]
    if not has_days and len(numbers) < 3:
        numbers = [0, *numbers]
    hours, minutes, seconds = [*numbers, 0, 0][:3]
    return 24 * 60 * int(days or 0) + 60 * hours + minutes + seconds / 60
