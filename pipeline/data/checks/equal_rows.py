"""The search for trajectories that are equal in different splits, by short hashes of their values.

A test trajectory that is also a training trajectory makes an evaluation too good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.data.format.layout import Header, field_path
from pipeline.data.plan import INDICES_PER_SPLIT, SPLITS

#: The hash of a trajectory's values, and its index.
ROW = np.dtype([("hash", np.uint64), ("index", np.int64)])


def hashes(header: Header, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a hash of each row (rows,) of `ROW`: of its first, middle and last frame."""
    frames = sorted({0, len(header.times) // 2, len(header.times) - 1})
    rows = np.empty(len(arrays["sample"]), ROW)
    for row, index in enumerate(arrays["sample"].tolist()):
        checksum = hashlib.blake2b(digest_size=8)
        for field in header.fields("fields"):
            for frame in frames:
                checksum.update(arrays[field_path(field)][row, frame].tobytes())
        rows[row] = int.from_bytes(checksum.digest(), "little"), index
    return rows


def mistake(parts: Sequence[np.ndarray]) -> str | None:
    """Return which rows of different splits are equal, or None."""
    rows = np.sort(np.concatenate([np.empty(0, ROW), *parts]), order=["hash", "index"])
    splits = rows["index"] // INDICES_PER_SPLIT
    is_equal = (rows["hash"][1:] == rows["hash"][:-1]) & (splits[1:] != splits[:-1])
    if not is_equal.any():
        return None
    position = int(np.argmax(is_equal))
    names = [
        f"trajectory {rows['index'][entry] % INDICES_PER_SPLIT} of {SPLITS[splits[entry]]}"
        for entry in (position + 1, position)
    ]
    return (
        f"{names[0]} equals {names[1]} in its first, middle and last frame. Trajectories of different splits "
        "have to differ. Delete the shards of both, and generate them again; or choose ranges of the "
        "solver's options that are not single values"
    )
