"""The return of a running job to the queue."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from pipeline.jobs.slurm import queries
from simsurrogate.errors import UserError

#: The longest time (s) of requests to a restarting controller, and the pause (s) between two requests.
_LONGEST_SECONDS, _PAUSE_SECONDS = 600.0, 5.0

#: Parts of Slurm's messages that a later request would receive again.
_FINAL_ERRORS = ("disabled", "denied", "Invalid job id", "not permitted")


def own_key() -> str:
    """Return Slurm's name of this job or task.

    One task of an array has the number of the whole array, so the number would name all tasks.
    """
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def has_progress(record: Mapping[str, Any]) -> bool:
    """Return whether an attempt at a stage got further than its start."""
    progress = record.get("progress")
    return progress is not None and bool(progress["done"] > progress["start"])


def is_preempted(job: str) -> bool:
    """Return whether Slurm is preempting a running job, whose steps Slurm ends before the job."""
    properties = queries.output("scontrol", "show", "job", "--oneliner", job)
    times = dict(re.findall(r"\b(PreemptTime|StartTime)=(\d\S*)", properties))
    # A preemption before the start belongs to a former run of the job.
    return "PreemptTime" in times and times["PreemptTime"] >= times.get("StartTime", "")


def requeue_preempted(job: str, stage: str) -> None:
    """Put a job back into the queue that Slurm preempts.

    Raises:
        UserError: Slurm refuses the job.
    """
    print(f"{stage} was ended because Slurm preempts this job: requeued", flush=True)
    request(job)


def requeue(job: str, stage: str, record: Mapping[str, Any]) -> None:
    """Put a job back into the queue, after an attempt at its stage that stopped.

    Raises:
        UserError: the attempt made no progress, or Slurm refuses the job.
    """
    if not has_progress(record):
        raise UserError(
            f"{stage} was stopped before its time was up and had made no progress in this job. A requeued "
            "job would never end. Give the job more time (sbatch --time), or make its steps shorter: "
            "samples.per_shard, training.steps"
        )
    progress = record["progress"]
    print(
        f"{stage} reached {progress['done']} of {progress['total']} {progress['unit']}: requeued", flush=True
    )
    request(job)


def request(job: str) -> None:
    """Call `scontrol requeue` until Slurm accepts the job.

    Raises:
        UserError: Slurm refuses the job, or does not answer for minutes.
    """
    deadline = time.monotonic() + _LONGEST_SECONDS
    is_first = True
    while error := _requeue_error(job):
        is_final = any(text in error for text in _FINAL_ERRORS)
        if is_final or time.monotonic() > deadline:
            raise UserError(
                f"scontrol requeue {job} failed: {error}. The work up to now is saved. Type `python -m "
                "pipeline.chain resume run=FOLDER`, or submit the job again, to continue"
            )
        if is_first:
            print(f"note: scontrol requeue {job} failed and is repeated: {error}", flush=True)
        is_first = False
        time.sleep(_PAUSE_SECONDS)


def _requeue_error(job: str) -> str:
    """Return the message of a failed `scontrol requeue`, or an empty text."""
    try:
        result = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (result.stderr.strip() or f"exit code {result.returncode}") if result.returncode else ""
