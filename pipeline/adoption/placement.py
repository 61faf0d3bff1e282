"""Where the fields of an adopted data set lie: in the files of the source, or copied into shards.

In place, each shard refers to consecutive trajectories of one file, or of several files with a field each.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.adoption.contents import Contents
from pipeline.adoption.description import Description
from pipeline.adoption.source import Source
from pipeline.adoption.specification import Specification
from pipeline.data.format.layout import field_path
from pipeline.data.format.links import LinkedFile
from pipeline.data.plan import SPLITS, Shard, index, shards
from simsurrogate.errors import UserError

_DRAWN = "new splits are drawn at random; in_place: true in the description divides the files in their order"
_SEVERAL_FILES = "a shard would have trajectories of several files"


@dataclass(frozen=True)
class Placement:
    """The place of all fields.

    Attributes:
        per_shard: the number of trajectories of a shard.
        links: the files with the fields of each shard, by the shard; empty if the fields are copied.
        reason_to_copy: why the fields are not read in place; None if the user chose copies.
    """

    per_shard: int
    links: dict[str, list[LinkedFile]] = dataclasses.field(default_factory=dict)
    reason_to_copy: str | None = None


@dataclass(frozen=True)
class Choices:
    """What the user chose: the precision, the trajectories of a shard of copies, and the description."""

    precision: str
    per_shard: int
    description: Description


def placement_of(
    source: Source,
    contents: Contents,
    facts: Specification,
    splits: Mapping[str, np.ndarray],
    choices: Choices,
) -> Placement:
    """Return the fields in their files, or the reason to copy them into shards.

    A shard of several files has as many trajectories as the longest file.

    Raises:
        UserError: the description has `in_place: true`, and the files cannot be read in place.
    """
    per_shard, description = choices.per_shard, choices.description
    if description.in_place is False:
        return Placement(per_shard)
    is_drawn = bool(description.splits) or not contents.splits
    reason = _reason_to_copy(contents, facts, choices.precision)
    if reason is None and is_drawn and not description.in_place:
        reason = _DRAWN
    if reason is None:
        if len(contents.rows) > 1:
            per_shard = max(rows.num_trajectories for rows in contents.rows)
        counts: dict[str, int] = {split: len(splits.get(split, ())) for split in SPLITS}
        places = {
            shard.file: _place(contents, shard, splits)
            for shard in shards({**counts, "per_shard": per_shard})
        }
        links = {
            file: _links(source, contents, facts, *place)
            for file, place in places.items()
            if place is not None
        }
        if len(links) == len(places):
            return Placement(per_shard, links)
        reason = _SEVERAL_FILES
    if description.in_place:
        raise UserError(
            f"the files of {source.path} cannot be read in place: {reason}. Remove in_place: true from the "
            "description, which copies them"
        )
    return Placement(choices.per_shard, reason_to_copy=reason)


def _reason_to_copy(contents: Contents, facts: Specification, precision: str) -> str | None:
    """Return why the fields of the files cannot be the fields of shards; None if they can."""
    if facts.is_resampled:
        return "the times are resampled"
    if several := next((entry for entry in facts.sources if len(entry.names) > 1), None):
        return f"the components of {several.field.name} are different arrays"
    names = [name for entry in facts.sources for name in entry.names]
    lacking = [name for name in names if any(name not in rows.locations for rows in contents.rows)]
    if lacking or not contents.rows:
        return f"the values of {', '.join(lacking or names)} are not one plain array of the trajectories"
    types = {field.dtype for field in contents.fields if field.name in names}
    if types != {precision}:
        return f"the values are {' and '.join(sorted(types))}, and the data set is {precision}"
    return None


def _place(contents: Contents, shard: Shard, splits: Mapping[str, np.ndarray]) -> tuple[int, int] | None:
    """Return the position in `contents.rows` and the first row of a shard; None if it needs several files."""
    first_item = shard.first - index(shard.split, 0)
    first, last = splits[shard.split][[first_item, first_item + shard.count - 1]].tolist()
    ends = list(itertools.accumulate(rows.num_trajectories for rows in contents.rows))
    position = bisect.bisect_right(ends, first)
    if last >= ends[position]:
        return None
    return position, first - (ends[position] - contents.rows[position].num_trajectories)


def _links(
    source: Source, contents: Contents, facts: Specification, position: int, row: int
) -> list[LinkedFile]:
    """Return the files with the trajectories from a row of `contents.rows[position]` on."""
    fields = {field.name: field for field in contents.fields}
    offsets: dict[str, dict[str, int]] = {}
    for entry in facts.sources:
        (name,) = entry.names
        location = contents.rows[position].locations[name]
        row_bytes = math.prod(contents.shape(fields[name])) * np.dtype(fields[name].dtype).itemsize
        file_offsets = offsets.setdefault(location.path, {})
        file_offsets[field_path(entry.field)] = location.offset + row * row_bytes
    return [_link(source, path, file_offsets) for path, file_offsets in offsets.items()]


def _link(source: Source, path: str, offsets: dict[str, int]) -> LinkedFile:
    name = Path(path).name if source.path.is_file() else str(Path(path).relative_to(source.path))
    return LinkedFile(path, source.files[name], source.checksums[name], offsets)
