"""The decision whether the files of a source are read in place, or copied into shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.adoption.contents import Contents, FoundFile
from pipeline.adoption.source import Source
from pipeline.adoption.specification import Specification
from pipeline.data.format.layout import field_path
from pipeline.data.format.links import LinkedFile
from pipeline.data.plan import SPLITS, shards


def links_of(
    source: Source, contents: Contents, facts: Specification, splits: dict[str, np.ndarray], precision: str
) -> dict[str, LinkedFile]:
    """Return the file with the fields of each shard, by the shard; empty if the files have to be copied.

    A file is linked if it holds whole rows of one split, and each field as one array of the stored type.
    Each shard then has the rows of one file, so the files of all splits have equally many trajectories,
    except for the last file of a split.
    """
    names = [name for entry in facts.sources for name in entry.names]
    is_plain = all(set(names) <= set(file.offsets) for file in contents.files)
    if (
        not contents.files
        or not is_plain
        or facts.is_resampled
        or any(len(entry.names) > 1 for entry in facts.sources)
        or any(field.dtype != precision for field in contents.fields if field.name in names)
        or not _are_divided_by_files(contents, splits)
    ):
        return {}
    counts: dict[str, int] = {split: len(splits.get(split, ())) for split in SPLITS}
    per_shard = rows_per_shard(contents)
    planned = shards({**counts, "per_shard": per_shard})
    if [shard.count for shard in planned] != [file.num_trajectories for file in contents.files]:
        return {}
    return {
        shard.file: _link(source, file, facts) for shard, file in zip(planned, contents.files, strict=True)
    }


def rows_per_shard(contents: Contents) -> int:
    """Return the number of trajectories of each shard of linked files."""
    return max(file.num_trajectories for file in contents.files)


def _are_divided_by_files(contents: Contents, splits: dict[str, np.ndarray]) -> bool:
    """Return whether the splits are those of the files, in their order."""
    start = 0
    for split, items in splits.items():
        if not np.array_equal(items, np.arange(start, start + contents.splits.get(split, 0))):
            return False
        start += len(items)
    return start == contents.num_trajectories


def _link(source: Source, file: FoundFile, facts: Specification) -> LinkedFile:
    name = Path(file.path).name if source.path.is_file() else str(Path(file.path).relative_to(source.path))
    return LinkedFile(
        path=file.path,
        identity=source.files[name],
        sha256=source.checksums[name],
        offsets={field_path(entry.field): file.offsets[entry.names[0]] for entry in facts.sources},
    )
