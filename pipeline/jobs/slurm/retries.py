"""The new start of failed jobs: `launcher.retries`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from pipeline.jobs.slurm import requeue
from pipeline.runs import lock
from pipeline.runs.folder import RunFolder
from simsurrogate.errors import UserError
from simsurrogate.files import writable_folder, write_whole

#: The exit codes of mistakes of the user, and of an end by scancel, the time limit or Ctrl-C.
_FINAL_EXIT_CODES = (2, lock.EXIT_CODE, 128 + signal.SIGTERM, 128 + signal.SIGINT)


def count(run: RunFolder, key: str) -> int:
    """Return how often the job or task with Slurm's name `key` was started again after a failure."""
    try:
        return int((run.retries / key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


def is_repeatable(exit_code: int, record: Mapping[str, Any]) -> bool:
    """Return whether a failed stage may succeed in another attempt.

    A mistake of the user would be refused again. It leaves exit code 2 or 3, or a record without a traceback.
    SIGTERM comes from Slurm or from the user.
    """
    is_mistake = record.get("outcome") == "failed" and "traceback" not in record
    has_no_launcher = exit_code == 0 and not record
    is_final = (exit_code if exit_code >= 0 else 128 - exit_code) in _FINAL_EXIT_CODES
    return not (is_mistake or has_no_launcher or is_final)


def start_again(run: RunFolder, stage: str, exit_code: int, allowed: int) -> bool:
    """Put this failed job back into the queue, at most `allowed` times; return whether Slurm accepts it.

    The jobs that depend on this job keep waiting for it.
    """
    key = requeue.own_key()
    # Slurm may use the number of an old job again.
    num_retries = count(run, key) if os.environ.get("SLURM_RESTART_COUNT", "0") != "0" else 0
    if num_retries >= allowed:
        if allowed:
            print(f"{stage} failed after {num_retries} retries: launcher.retries={allowed}", flush=True)
        return False
    print(
        f"{stage} failed with exit code {exit_code}: requeued, retry {num_retries + 1} of {allowed}",
        flush=True,
    )
    # The request ends this process.
    write_whole(writable_folder(run.retries) / key, str(num_retries + 1))
    try:
        requeue.request(key)
    except UserError as error:
        write_whole(run.retries / key, str(num_retries))
        print(
            f"note: launcher.retries={allowed} has no effect on this job. Slurm has to allow that jobs are "
            f"requeued. Remove no-requeue from launcher.sbatch. {error}",
            file=sys.stderr,
            flush=True,
        )
        return False
    return True
