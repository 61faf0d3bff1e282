"""The sizes that a manifest describes, compared with the sizes of its files before memory is allocated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.format.layout import bytes_of_fields
from pipeline.data.plan import MAX_SHARDS, num_shards
from simsurrogate.errors import UserError

if TYPE_CHECKING:
    from pipeline.data.manifest import Manifest

#: Coordinates of fewer bytes are read even if no shard can hold them, because every shard may be damaged.
_SMALL_COORDINATES_BYTES = 2**26
_REMEDY = "Generate the data set again with overwrite=true"


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Raise `UserError` unless the numbers of shards, frames and sites agree with the sizes of the files.

    After this check, a reader allocates no more memory than the files on disk need.
    """
    path, spec, configuration = folder / "manifest.json", manifest.spec, manifest.configuration
    planned = num_shards(configuration["samples"])
    if planned > MAX_SHARDS:
        raise UserError(
            f"{path} plans {planned} shards. A data set has at most {MAX_SHARDS} shards. Generate it "
            "again with a larger samples.per_shard"
        )
    if not manifest.shards:
        raise UserError(
            f"{path} lists no shard. A complete data set has shards. Generate it again with overwrite=true"
        )
    num_frames, precision = configuration["output"]["steps"] + 1, configuration["storage"]["precision"]
    row_bytes = bytes_of_fields(spec, num_frames, precision)
    for shard in manifest.shards:
        needed = shard.trajectories * row_bytes
        if needed > shard.size:
            raise UserError(
                f"{path} describes {needed} bytes of fields in {shard.file}. By the same document the "
                f"file has {shard.size} bytes. {_REMEDY}"
            )
    coordinates_bytes = np.dtype(precision).itemsize * (num_frames + sum(spec.shape))
    if coordinates_bytes > _SMALL_COORDINATES_BYTES and not any(
        _file_size(folder / shard.file) > coordinates_bytes for shard in manifest.shards
    ):
        raise UserError(
            f"{path} describes {coordinates_bytes} bytes of coordinates in each shard. No shard in {folder} "
            f"has as many bytes. {_REMEDY}"
        )


def _file_size(path: Path) -> int:
    """Return the size of a file (bytes), or 0 if there is no file."""
    return path.stat().st_size if path.is_file() else 0
