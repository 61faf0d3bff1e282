"""The result of one check of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: A `failed` check refuses the data set. A `warning` is for people to read, and training continues.
Outcome = Literal["passed", "failed", "warning", "not applicable"]


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of one part of a data set.

    Attributes:
        check: the name of the check.
        subject: the part: a shard, a split or the folder.
        outcome: see `Outcome`.
        message: the finding, or the reason why the check does not apply; empty for a passed check.
        numbers: the measured numbers by name, for validation.json.
    """

    check: str
    subject: str
    outcome: Outcome
    message: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_mistake(cls, check: str, subject: str, mistake: str | None) -> CheckResult:
        """Return the result of a check that fails with a message, or passes without one."""
        return cls(check, subject, "failed" if mistake else "passed", mistake or "")
