"""The provenance of an evaluated model, from the records that the stages left in their run folders."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pipeline.runs.cost import Cost, by_job, total
from pipeline.runs.records import of_stage


class Attempt(BaseModel):
    """One attempt at a stage: the part of the record that describes the origin of a model."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    outcome: str
    started: AwareDatetime
    ended: AwareDatetime | None = None
    command: list[str]
    configuration: Mapping[str, object]
    versions: dict[str, str]
    mpi_library: str | None
    ranks: int
    skipped: bool = False
    core_seconds: float = 0.0
    core_hours: float = 0.0
    slurm: dict[str, str] = {}
    reason: str = ""

    @property
    def model(self) -> str:
        """The name of the model in the configuration; older records hold the name of the surrogate."""
        surrogate = self.configuration.get("surrogate")
        name = surrogate.get("name") if isinstance(surrogate, dict) else None
        return str(self.configuration.get("model") or name)


def attempts(run: Path, stage: str, model: str | None = None) -> list[Attempt]:
    """Return all attempts at a stage, the oldest first; with `model`, the attempts for this model only."""
    all_attempts = []
    for record in of_stage(run, stage):
        try:
            all_attempts.append(Attempt.model_validate(record))
        except ValidationError:
            continue
    return [attempt for attempt in all_attempts if model is None or attempt.model == model]


def seconds(attempt_list: Sequence[Attempt]) -> float:
    """Return the wall time (s) of all attempts that ended, with the interrupted attempts."""
    return sum((attempt.ended - attempt.started).total_seconds() for attempt in attempt_list if attempt.ended)


def core_seconds(attempt_list: Sequence[Attempt]) -> float:
    """Return the processor time (s) of all ranks of all attempts. Failed attempts record no time."""
    return sum(attempt.core_seconds for attempt in attempt_list)


def cost_of(attempt_list: Sequence[Attempt]) -> Cost:
    """Return the core-hours and the energy of all attempts."""
    return total(by_job(attempt.model_dump() for attempt in attempt_list).values())


def last_complete_attempt(attempt_list: Sequence[Attempt]) -> Attempt | None:
    """Return the newest attempt that is complete and was not skipped."""
    complete_attempts = [
        attempt for attempt in attempt_list if attempt.outcome == "complete" and not attempt.skipped
    ]
    return complete_attempts[-1] if complete_attempts else None


def commands(dataset_run: Path, run: Path, model: str) -> list[str]:
    """Return the command line of each stage that led to the evaluation, ready to paste into a shell.

    The last command is the newest evaluation, which still runs while the report is written.
    """
    attempts_by_stage = {
        stage: last_complete_attempt(attempts(dataset_run, stage)) for stage in ("generate", "validate")
    }
    attempts_by_stage["train"] = last_complete_attempt(attempts(run, "train", model))
    attempts_by_stage["evaluate"] = next(reversed(attempts(run, "evaluate", model)), None)
    return [_command(stage, attempt) for stage, attempt in attempts_by_stage.items() if attempt is not None]


def _command(stage: str, attempt: Attempt) -> str:
    command = ["python", "-m", f"pipeline.{stage}", *attempt.command[1:]]
    if attempt.ranks > 1:
        command = ["mpirun", "-n", str(attempt.ranks), *command]
    return shlex.join(command)
