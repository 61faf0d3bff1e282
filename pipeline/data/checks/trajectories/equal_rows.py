"""The search for equal trajectories, by short hashes of their values.

A test trajectory that is also a training trajectory makes an evaluation too good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from pipeline.data.checks.result import CheckResult
from pipeline.data.checks.trajectories.naming import name_of
from pipeline.data.format.layout import Header, field_path
from pipeline.data.plan import INDICES_PER_SPLIT


def hashes(header: Header, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return hashes of each row, (rows, 3).

    The first is of the first, middle and last frame, the second of the initial state, and the third of the
    coefficient fields.
    """
    frames = sorted({0, len(header.times) // 2, len(header.times) - 1})
    num_rows = len(arrays["sample"])
    result = np.empty((num_rows, 3), np.uint64)
    for row in range(num_rows):
        whole, initial, coefficients = (hashlib.blake2b(digest_size=8) for _ in range(3))
        for field in header.fields("fields"):
            for frame in frames:
                whole.update(arrays[field_path(field)][row, frame].tobytes())
            initial.update(arrays[field_path(field)][row, 0].tobytes())
        for field in header.fields("coefficient_fields"):
            coefficients.update(arrays[field_path(field)][row].tobytes())
        result[row] = [
            int.from_bytes(checksum.digest(), "little") for checksum in (whole, initial, coefficients)
        ]
    return result


def equal_pairs(indices: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Return pairs of equal rows, (M, 2) indices with the larger first: each row and the next smaller one.

    Args:
        indices: the indices of the trajectories, (N,).
        hashes: one hash of each trajectory, (N,).
    """
    order = np.lexsort((indices, hashes))
    indices, hashes = indices[order], hashes[order]
    pairs = np.stack([indices[1:], indices[:-1]], axis=1)
    return np.asarray(pairs[hashes[1:] == hashes[:-1]])


def is_across(pairs: np.ndarray) -> np.ndarray:
    """Return which pairs of trajectory indices (M, 2) belong to different splits."""
    return np.asarray(pairs[:, 0] // INDICES_PER_SPLIT != pairs[:, 1] // INDICES_PER_SPLIT)


def result(subject: str, indices: np.ndarray, hashes: np.ndarray) -> CheckResult:
    """Return which rows are equal: a failure in different splits, and a warning in one split."""
    pairs = equal_pairs(indices, hashes)
    across = pairs[is_across(pairs)]
    numbers = {
        "trajectories": float(len(indices)),
        "pairs_across_splits": float(len(across)),
        "pairs_in_one_split": float(len(pairs) - len(across)),
    }
    if not len(pairs):
        return CheckResult("equal_rows", subject, "passed", numbers=numbers)
    later, earlier = (across if len(across) else pairs)[0]
    message = f"{name_of(later)} equals {name_of(earlier)} in its first, middle and last frame"
    if not len(across):
        message += f" (pairs in one split: {len(pairs)}). A model learns nothing from the second"
        return CheckResult("equal_rows", subject, "warning", message, numbers)
    message += (
        ". Trajectories of different splits have to differ. Delete the shards of both, and generate them "
        "again; or choose ranges of the solver's options that are not single values"
    )
    return CheckResult("equal_rows", subject, "failed", message, numbers)
