"""Where the judged model comes from, read from what the stages left in their run folders."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.runs.records import of_stage


def records(run: Path, stage: str, model: str | None = None) -> list[dict[str, Any]]:
    """The records of all attempts at a stage, the oldest first; those for one model where it is given."""
    found = of_stage(run, stage)
    return [one for one in found if model is None or model_of(one) == model]


def model_of(attempt: dict[str, Any]) -> str:
    """The model that an attempt was for; models were once called as their surrogate is."""
    configuration = attempt["configuration"]
    return str(configuration.get("model") or configuration["surrogate"]["name"])


def seconds(attempts: list[dict[str, Any]]) -> float:
    """The wall time of all attempts that ended, interrupted ones included."""
    return sum(
        (
            datetime.fromisoformat(attempt["ended"]) - datetime.fromisoformat(attempt["started"])
        ).total_seconds()
        for attempt in attempts
        if "ended" in attempt
    )


def core_seconds(attempts: list[dict[str, Any]]) -> float:
    """The processors' time that all ranks of all attempts spent, those that failed left out."""
    return sum((attempt.get("core_seconds", 0.0) for attempt in attempts), 0.0)


def last_working(attempts: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The newest attempt that ended well, and found work to do."""
    good = [one for one in attempts if one["outcome"] == "complete" and not one.get("skipped")]
    return good[-1] if good else None


def commands(dataset_run: Path, run: Path, model: str) -> list[str]:
    """The command line of each stage that led here, as one can paste it into a shell.

    The last one is the newest evaluation, which still runs where its report is being written.
    """
    attempts = {stage: last_working(records(dataset_run, stage)) for stage in ("generate", "validate")}
    attempts["train"] = last_working(records(run, "train", model))
    attempts["evaluate"] = next(reversed(records(run, "evaluate", model)), None)
    return [_command(stage, attempt) for stage, attempt in attempts.items() if attempt is not None]


def _command(stage: str, attempt: dict[str, Any]) -> str:
    words = ["python", "-m", f"pipeline.{stage}", *attempt["command"][1:]]
    if attempt["ranks"] > 1:
        words = ["mpirun", "-n", str(attempt["ranks"]), *words]
    return shlex.join(words)
