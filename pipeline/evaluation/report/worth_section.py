"""The section of the report on the worth of the surrogate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.config.overrides import typed
from pipeline.evaluation.words import percent
from pipeline.evaluation.worth_words import duration, worth_verdict

if TYPE_CHECKING:
    from pipeline.evaluation.worth_result import WorthResult
    from pipeline.runs.folder import RunFolder


@dataclass(frozen=True)
class WorthSection:
    """The verdict, the rows of the table, and the command that measures them again.

    A row holds the name of a setting, its error, its time and its time in a batch. The first rows are those
    of the surrogate.
    """

    verdict: str
    rows: list[tuple[str, str, str, str]]
    command: str


def worth_section(worth: WorthResult, surrogate: str, folder: RunFolder) -> WorthSection:
    """Return the section. The table leaves out settings that others beat."""
    times = worth.surrogate
    surrogate_row = (
        f"{surrogate}, compiled" if times.compiled else surrogate,
        percent(times.error),
        duration(times.query_seconds),
        f"{duration(times.batch_seconds)} (batch of {times.batch_size})",
    )
    command = f"python -m pipeline.worth {typed('run', folder.path)} surrogate={surrogate}"
    if folder.model != surrogate:
        command += f" model={folder.model}"
    if folder.dataset.parent != folder.path:
        command += f" {typed('dataset', folder.dataset)}"
    command += f" evaluation.worth={worth.num_requested}"
    if worth.frames != "all":
        command += f" evaluation.worth_frames={worth.frames}"
    if times.compiled:
        command += " evaluation.compiled=true"
    return WorthSection(worth_verdict(worth), [surrogate_row, *front_rows(worth)], command)


def front_rows(worth: WorthResult) -> list[tuple[str, str, str, str]]:
    """Return the rows of the settings that no faster setting beats in accuracy, the fastest first."""
    rows, least_error = [], float("inf")
    finite = [
        (setting.seconds, setting.error, setting)
        for setting in worth.settings
        if setting.seconds is not None and setting.error is not None
    ]
    for seconds, error, setting in sorted(finite, key=lambda entry: entry[:2]):
        if error >= least_error:
            continue
        least_error = error
        batch_time = "diverged" if setting.batch_seconds is None else duration(setting.batch_seconds)
        error_text = percent(error) if error > 0 else "reference"
        rows.append((f"solver, {setting.name}", error_text, duration(seconds), batch_time))
    return rows
