"""The outcome of a stage by its run record. A launcher may return 0 although a node has failed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.runs import records
from simsurrogate.errors import UserError
from simsurrogate.files import is_read_only


def newest_record(run: Path, stage: str, after: int, job: str | None = None) -> Mapping[str, Any]:
    """Return the newest record of a stage with a number above `after`, or an empty record.

    With `job`, only the records of this Slurm job count.
    """
    attempts = [
        record
        for record in records.of_stage(run, stage, after)
        if job is None or record.get("slurm", {}).get("job") == job
    ]
    return attempts[-1] if attempts else {}


def listens(run: Path, stage: str, after: int, job: str | None = None) -> bool:
    """Return whether all ranks of a stage listen to SIGUSR1: their record has the nodes."""
    return "nodes" in newest_record(run, stage, after, job)


def require_complete(run: Path, stage: str, record: Mapping[str, Any]) -> None:
    """Refuse the exit code 0 of a launcher whose stage is not complete.

    A run folder that this process may not write gets no record.

    Raises:
        UserError: the record of the stage is missing, or its outcome is not `complete`.
    """
    is_complete = record.get("outcome") == "complete" or (not record and is_read_only(run))
    if not is_complete:
        found = (
            f"the outcome in its run record is {record['outcome']!r}" if record else "it has no run record"
        )
        raise UserError(
            f"the launch command ended with exit code 0, but {stage} is not complete: {found}. A node has "
            "failed, or launcher.mpirun does not start the stage. Run the same command again to continue, or "
            "correct launcher.mpirun"
        )
