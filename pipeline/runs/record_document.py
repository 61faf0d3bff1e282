"""The typed reading of one run record; the keys that stages do not read may hold anything."""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic reads it

from simsurrogate.documents import read_json


class _Progress(TypedDict):
    """The progress of a stage in its record."""

    start: int
    done: int
    total: int
    unit: str


@with_config(ConfigDict(extra="allow"))
class _Record(TypedDict):
    """The keys of a record that the stages read."""

    outcome: str
    configuration: NotRequired[dict[str, object]]
    process: NotRequired[int]
    host: NotRequired[str]
    slurm: NotRequired[dict[str, str]]
    reason: NotRequired[str]
    report: NotRequired[str]
    warning: NotRequired[str]
    core_hours: NotRequired[float]
    progress: NotRequired[_Progress]


def read_record(path: Path) -> dict[str, object]:
    """Return the record in a file.

    Raises:
        UserError: the file cannot be read, or holds something else than a record.
    """
    return dict(read_json(path, _Record, "The record is skipped. Delete the file to end this note"))
