"""Where the fields of an adopted data set lie: in the files of the source, or copied into shards.

In place, each shard refers to consecutive trajectories of one file, or of several files with a field each.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.adoption.contents import Contents, FoundField, Location
from pipeline.adoption.description import Description
from pipeline.adoption.source import Source
from pipeline.adoption.specification import Specification
from pipeline.data.format.layout import field_path
from pipeline.data.format.links import LinkedFile
from pipeline.data.plan import SPLITS, Shard, index, shards
from simsurrogate.errors import UserError

_DRAWN = "new splits are drawn at random; in_place: true in the description divides the files in their order"


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
    """The choices of the user: the precision, the trajectories of a shard of copies, the description."""

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

    Raises:
        UserError: the description has `in_place: true`, and the files cannot be read in place; or the
            locations of the values are not those of arrays in the files.
    """
    per_shard, description = choices.per_shard, choices.description
    if description.in_place is False:
        return Placement(per_shard)
    reason = _reason_to_copy(contents, facts, choices.precision)
    if (
        reason is None
        and not description.in_place
        and (description.splits or not any(contents.splits.values()))
    ):
        reason = _DRAWN
    if reason and description.in_place:
        raise UserError(
            f"the files of {source.path} cannot be read in place: {reason}. Arrays in C order of the stored "
            "precision are allowed. Set in_place: false in the description to copy the files"
        )
    if reason:
        return Placement(per_shard, reason_to_copy=reason)
    _check_locations(source, contents)
    ends = list(itertools.accumulate(rows.num_trajectories for rows in contents.rows))
    per_shard = _trajectories_per_shard(ends, splits, per_shard)
    counts: dict[str, int] = {split: len(splits.get(split, ())) for split in SPLITS}
    links = {
        shard.file: _links(source, contents, facts, *_place(ends, shard, splits))
        for shard in shards({**counts, "per_shard": per_shard})
    }
    return Placement(per_shard, links)


def _check_locations(source: Source, contents: Contents) -> None:
    """Check that the arrays lie inside files of the source, because the reader may have been deceived."""
    fields, counts = {field.name: field for field in contents.fields}, []
    for rows in contents.rows:
        counts.append(rows.num_trajectories)
        for name, location in rows.locations.items():
            end = location.offset + rows.num_trajectories * _row_bytes(contents, fields[name])
            size = source.files.get(_name(source, location), (0,))[0]
            if not 0 <= location.offset <= end <= size:
                raise UserError(
                    f"{name} lies at bytes {location.offset} to {end} of {location.path}, outside of the "
                    f"files of {source.path}. Only values in these files are read. Use another file"
                )
    if min(counts) < 1 or sum(counts) != contents.num_trajectories:
        raise UserError(
            f"the files of {source.path} hold {counts} trajectories, {contents.num_trajectories} expected "
            "together. Use another file"
        )


def _name(source: Source, location: Location) -> str:
    """Return the name of a file in the source; empty for a file outside of it."""
    path = Path(location.path)
    if source.path.is_file():
        return path.name if path == source.path else ""
    return str(path.relative_to(source.path)) if path.is_relative_to(source.path) else ""


def _row_bytes(contents: Contents, field: FoundField) -> int:
    return math.prod(contents.shape(field)) * np.dtype(field.dtype).itemsize


def _trajectories_per_shard(ends: Sequence[int], splits: Mapping[str, np.ndarray], per_shard: int) -> int:
    """Return the number of trajectories of a shard, so that each shard lies in one file.

    It divides the distance of the end of each file from the start of its split, and is the smallest such
    number above `per_shard`, or the largest one.
    """
    divisor = 0
    for end in ends:
        for items in splits.values():
            if items[0] < end <= items[-1]:
                divisor = math.gcd(divisor, end - int(items[0]))
    divisors = [number for number in range(1, divisor + 1) if divisor % number == 0]
    return next((number for number in divisors if number >= per_shard), divisor or per_shard)


def _reason_to_copy(contents: Contents, facts: Specification, precision: str) -> str | None:
    """Return why the fields of the files cannot be the fields of shards; None if they can."""
    if facts.is_resampled:
        return "the times are resampled"
    if several := next((entry for entry in facts.sources if len(entry.names) > 1), None):
        return f"the components of {several.field.name} are different arrays"
    names = [name for entry in facts.sources for name in entry.names]
    lacking = [name for name in names if any(name not in rows.locations for rows in contents.rows)]
    if lacking or not contents.rows:
        return (
            f"the values of {', '.join(lacking or names)} are not one array in the order (trajectory, time, "
            "x, ...), without chunks and filters, of the machine's float32 or float64"
        )
    types = {field.dtype for field in contents.fields if field.name in names}
    if types != {precision}:
        return f"the values are {' and '.join(sorted(types))}, and the data set is {precision}"
    return None


def _place(ends: Sequence[int], shard: Shard, splits: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Return the position in `Contents.rows`, and the row there, of the first trajectory of a shard.

    `ends` holds, for each of these rows, the number of trajectories up to their end.
    """
    first = int(splits[shard.split][shard.first - index(shard.split, 0)])
    position = bisect.bisect_right(ends, first)
    return position, first - (ends[position - 1] if position else 0)


def _links(
    source: Source, contents: Contents, facts: Specification, position: int, row: int
) -> list[LinkedFile]:
    """Return the files with the trajectories from a row of `contents.rows[position]` on."""
    fields = {field.name: field for field in contents.fields}
    offsets: dict[str, dict[str, int]] = {}
    for entry in facts.sources:
        (name,) = entry.names
        location = contents.rows[position].locations[name]
        file_offsets = offsets.setdefault(_name(source, location), {})
        file_offsets[field_path(entry.field)] = location.offset + row * _row_bytes(contents, fields[name])
    return [
        LinkedFile(
            str(source.path if source.path.is_file() else source.path / name),
            source.files[name],
            source.checksums[name],
            file_offsets,
        )
        for name, file_offsets in offsets.items()
    ]
