"""The outcome of a validation, in validation.json, and the data sets that it lets pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.data.accuracy import SelfStatedError
from pipeline.data.checks.result import CheckResult, Outcome
from pipeline.data.document import Document
from pipeline.data.manifest import Manifest, read_document
from simsurrogate.errors import UserError
from simsurrogate.files import FileIdentity

#: The checks of files and documents. `allow_failed` does not accept a data set that failed one of these.
INTEGRITY_CHECKS = frozenset(
    {
        "receipt",
        "size",
        "checksum",
        "structure",
        "indices",
        "receipt_statistics",
        "manifest",
        "coarsening",
        "foreign_files",
        "statistics",
    }
)
_REMEDY = "Run python -m pipeline.generate, then python -m pipeline.validate"


class CheckRecord(Document):
    """A `CheckResult` in validation.json."""

    check: str
    subject: str
    outcome: Outcome
    message: str = ""
    numbers: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def of(cls, result: CheckResult) -> CheckRecord:
        """Return the record of a result, without numbers that are not finite."""
        numbers = {name: float(value) for name, value in result.numbers.items() if math.isfinite(value)}
        return cls(
            check=result.check,
            subject=result.subject,
            outcome=result.outcome,
            message=result.message,
            numbers=numbers,
        )


class Validation(Document):
    """The outcome of a validation of the data set with this `identity`.

    `checks` maps the name of each check to the number of its runs; `failures` describes each failed check.
    `files` holds the identity of each shard's file before its checks, see `simsurrogate.files.file_identity`.
    `results` holds the results of all checks, see `records_of`; earlier releases wrote none.
    `self_stated_error` is None if the result of this name says why there is none.
    """

    identity: str
    outcome: Literal["passed", "failed"]
    checks: dict[str, int]
    failures: list[str]
    files: dict[str, FileIdentity] = Field(default_factory=dict)
    results: list[CheckRecord] = Field(default_factory=list)
    self_stated_error: SelfStatedError | None = None

    @property
    def failed_checks(self) -> tuple[str, ...]:
        """The name of each failed check, in alphabetical order."""
        return tuple(sorted({record.check for record in self.results if record.outcome == "failed"}))


def validation_of(
    manifest: Manifest,
    results: Sequence[CheckResult],
    files: dict[str, FileIdentity],
    stated_error: SelfStatedError | None,
) -> Validation:
    """Return the outcome of the checks of a data set; a warning does not change the outcome."""
    failures = sorted(f"{item.subject}: {item.check}: {item.message}" for item in results if is_failed(item))
    return Validation(
        identity=manifest.identity,
        outcome="failed" if failures else "passed",
        checks=dict(Counter(result.check for result in results if result.outcome != "not applicable")),
        failures=failures,
        files=files,
        results=records_of(results),
        self_stated_error=stated_error,
    )


def is_failed(result: CheckResult) -> bool:
    """Return whether a result refuses the data set."""
    return result.outcome == "failed"


def records_of(results: Iterable[CheckResult]) -> list[CheckRecord]:
    """Return the records of results: failures first, then warnings, passed and inapplicable checks.

    Passed results of one check without numbers are one record, whose number `parts` counts them.
    """
    records, passed_parts = [], Counter[str]()
    subjects: dict[str, str] = {}
    for result in results:
        if result.outcome == "passed" and not result.numbers:
            passed_parts[result.check] += 1
            subjects[result.check] = result.subject
        else:
            records.append(CheckRecord.of(result))
    for check, count in passed_parts.items():
        subject = subjects[check] if count == 1 else f"{count} parts"
        records.append(
            CheckRecord(check=check, subject=subject, outcome="passed", numbers={"parts": float(count)})
        )
    order = ("failed", "warning", "passed", "not applicable")
    return sorted(records, key=lambda record: (order.index(record.outcome), record.check, record.subject))


def accepted_validation(
    folder: Path, manifest: Manifest, other_path: Path | None, *, allow_failed: bool
) -> Validation:
    """Return the validation that the data set passed in its present state.

    The validation is in the data set or in `other_path`. If both exist, both have to be passed. With
    `allow_failed`, a failed check of the content is accepted; the result is then the failed validation.

    Raises:
        UserError: the data set was not validated, has changed, or failed.
    """
    paths = [path for path in (other_path, folder / "validation.json") if path and path.exists()]
    if not paths:
        raise UserError(
            f"the data set in {folder} was not validated. Only validated data are used. "
            "Run python -m pipeline.validate"
        )
    validations = {path: read_document(path, Validation) for path in paths}
    present = {path: found for path, found in validations.items() if found.identity == manifest.identity}
    if not present:
        raise UserError(
            f"the data set in {folder} was changed after its validation. Only validated data are used. "
            "Run python -m pipeline.validate again"
        )
    failed = {path: found for path, found in present.items() if found.outcome != "passed"}
    for path, validation in failed.items():
        _refuse_failure(folder, path, validation, allow_failed=allow_failed)
    return next(iter((failed or present).values()))


def _refuse_failure(folder: Path, path: Path, validation: Validation, *, allow_failed: bool) -> None:
    """Raise `UserError` for a failed validation, unless `allow_failed` accepts each of its failures."""
    reason = (validation.failures or ["no reason is recorded"])[0]
    message = f"the data set in {folder} failed its validation: {reason} ({path})."
    damages = sorted(INTEGRITY_CHECKS & {*validation.failed_checks})
    is_acceptable = bool(validation.failed_checks) and not damages
    if not allow_failed:
        choice = (
            " To use these data all the same, type allow_failed=true: the model and its report name the "
            "failed checks"
            if is_acceptable
            else ""
        )
        raise UserError(f"{message} {_REMEDY}{'.' if choice else ''}{choice}")
    if damages:
        raise UserError(
            f"{message} allow_failed=true accepts no failed checks of files: {', '.join(damages)}. {_REMEDY}"
        )
    if not is_acceptable:
        raise UserError(
            f"{message} An earlier release wrote this file without the names of the failed checks. Run "
            "python -m pipeline.validate again"
        )
