"""The sizes that a manifest describes, compared with the sizes of its files before memory is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.data.format.layout import bytes_of_fields
from pipeline.data.plan import MAX_SHARDS, num_shards
from pipeline.data.recorded_configuration import Configuration
from simsurrogate.errors import UserError
from simsurrogate.spec import Spec

#: Coordinates of fewer bytes are read even if no shard can hold them, because every shard may be damaged.
_SMALL_COORDINATES_BYTES = 2**26
_REMEDY = "Generate the data set again with overwrite=true"


def check_sizes(
    folder: Path, spec: Spec, configuration: Configuration, shards: Sequence[tuple[str, int, int]]
) -> None:
    """Check that the numbers of shards, frames and sites agree with the sizes of the files.

    After this check, a reader allocates no more memory than the files on disk need.

    Args:
        folder: the data set.
        spec: the spec in its manifest.
        configuration: the configuration in its manifest.
        shards: the file, the number of trajectories and the size (bytes) of each shard in its manifest.

    Raises:
        UserError: a number is larger than the files allow.
    """
    path = folder / "manifest.json"
    planned = num_shards(configuration["samples"])
    if planned > MAX_SHARDS:
        raise UserError(
            f"{path} plans {planned} shards. A data set has at most {MAX_SHARDS} shards. Generate it "
            "again with a larger samples.per_shard"
        )
    if not shards:
        raise UserError(
            f"{path} lists no shard. A complete data set has shards. Generate it again with overwrite=true"
        )
    num_frames, precision = configuration["output"]["steps"] + 1, configuration["storage"]["precision"]
    row_bytes = bytes_of_fields(spec, num_frames, precision)
    for file, num_trajectories, size in shards:
        needed = num_trajectories * row_bytes
        if needed > size:
            raise UserError(
                f"{path} describes {needed} bytes of fields in {file}. By the same document the "
                f"file has {size} bytes. {_REMEDY}"
            )
    coordinates_bytes = np.dtype(precision).itemsize * (num_frames + sum(spec.shape))
    if coordinates_bytes > _SMALL_COORDINATES_BYTES and not any(
        _file_size(folder / file) > coordinates_bytes for file, _, _ in shards
    ):
        raise UserError(
            f"{path} describes {coordinates_bytes} bytes of coordinates in each shard. No shard in {folder} "
            f"has as many bytes. {_REMEDY}"
        )


def _file_size(path: Path) -> int:
    """Return the size of a file (bytes), or 0 if there is no file."""
    return path.stat().st_size if path.is_file() else 0
