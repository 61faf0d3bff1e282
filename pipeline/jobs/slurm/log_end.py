"""The end of a job in its log: Slurm's last message, or the last error of the stage."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

#: The length (bytes) of the end of a log that is searched for an error.
_TAIL_BYTES = 2**14

#: The ends of jobs by Slurm's states.
CAUSES = {
    "TIMEOUT": "the time limit ended the job. Request more time",
    "OUT_OF_MEMORY": "out of memory. Request more memory",
    "NODE_FAIL": "a node failed",
    "BOOT_FAIL": "a node did not boot",
    "DEADLINE": "the deadline ended the job",
    "PREEMPTED": "preempted by another job",
}

_ERROR = re.compile(r"(?:\[rank .*\] )?error: (.*)")
# slurmstepd may add the name of its node to its own name.
_OUT_OF_MEMORY = re.compile(
    r"(slurmstepd\S*|srun): error: .*(oom[-_ ]kill|out of memory|exceeded (job |step )?memory limit)",
    re.IGNORECASE,
)
_JOB_ENDED = re.compile(r"slurmstepd\S*: error: \*\*\* JOB \d+ ON \S+ CANCELLED AT \S+(.*) \*\*\*")
_STATES_IN_LOG = {"TIME LIMIT": "TIMEOUT", "PREEMPTION": "PREEMPTED", "NODE FAILURE": "NODE_FAIL"}


@dataclass(frozen=True)
class LogEnd:
    """The end of a job: `state` is failed or cancelled; `is_by_slurm` is False for an error of the stage."""

    state: str
    reason: str
    is_by_slurm: bool


def read(log: Path) -> LogEnd | None:
    """Return the end of a job in its log; None for a log without a message about the end, and without a log.

    A requeued job appends to its log, so the last message counts.
    """
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    ends = (_end_in_line(line) for line in reversed(lines))
    return next((end for end in ends if end), None)


def _end_in_line(line: str) -> LogEnd | None:
    if match := _ERROR.match(line):
        return LogEnd("failed", match[1], is_by_slurm=False)
    if _OUT_OF_MEMORY.match(line):
        return LogEnd("failed", CAUSES["OUT_OF_MEMORY"], is_by_slurm=True)
    if match := _JOB_ENDED.match(line):
        state = next((state for text, state in _STATES_IN_LOG.items() if text in match[1]), "")
        if state:
            return LogEnd("failed", CAUSES[state], is_by_slurm=True)
        return LogEnd("cancelled", "while it was running", is_by_slurm=True)
    return None
