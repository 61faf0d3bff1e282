"""The values of fields at a few sites, which stand for whole frames in comparisons between trajectories.

The sites are the same in all trajectories. They lie in short blocks, so a check reads a few pages of each
frame from the disk, however fine the grid is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np

from pipeline.data.format.layout import FieldKind, Header, field_path

#: The number of values of a field at one time; all values of a smaller field.
_VALUES = 512
#: The number of neighbouring values in a block.
_BLOCK = 16
#: The bytes of sampled values that are in memory at a time.
_CHUNK_BYTES = 2**22


@lru_cache(maxsize=64)
def positions(num_values: int) -> np.ndarray:
    """Return the positions of the sampled values in the flat array of a field at one time, ascending."""
    if num_values <= _VALUES:
        return np.arange(num_values)
    num_blocks = num_values // _BLOCK
    rng = np.random.Generator(np.random.Philox(0))
    # One block in each of equal parts of the field, so the sites cover the box.
    edges = np.linspace(0, num_blocks, _VALUES // _BLOCK + 1).astype(int)
    blocks = rng.integers(edges[:-1], np.maximum(edges[1:], edges[:-1] + 1))
    return (blocks[:, None] * _BLOCK + np.arange(_BLOCK)).reshape(-1)


def row_chunks(header: Header, rows: int) -> Iterator[slice]:
    """Yield slices of rows whose sampled values fit into memory together."""
    row_values = sum(
        min(_values(header, kind, index), _VALUES)
        for kind in ("fields", "coefficient_fields")
        for index in range(len(header.fields(kind)))
    )
    size = max(_CHUNK_BYTES // max(8 * row_values * len(header.times), 1), 1)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def sampled_values(
    header: Header, arrays: Mapping[str, np.ndarray], kind: FieldKind, rows: slice
) -> list[np.ndarray]:
    """Return the sampled values of each field: (rows, T, n), or (rows, n) for coefficient fields."""
    samples = []
    for field in header.fields(kind):
        array = arrays[field_path(field)][rows]
        leading = array.shape[:2] if kind == "fields" else array.shape[:1]
        flat = array.reshape(*leading, math.prod(array.shape[len(leading) :]))
        samples.append(_without_gaps(flat[..., positions(flat.shape[-1])]))
    return samples


def _without_gaps(values: np.ndarray) -> np.ndarray:
    """Return samples (rows, ...) with the mean of the row's samples in place of missing values."""
    is_missing = np.isnan(values)
    if not is_missing.any():
        return values
    axes = tuple(range(1, values.ndim))
    total = np.where(is_missing, 0.0, values).sum(axis=axes, keepdims=True)
    count = np.maximum((~is_missing).sum(axis=axes, keepdims=True), 1)
    return np.where(is_missing, total / count, values).astype(values.dtype)


def _values(header: Header, kind: FieldKind, index: int) -> int:
    field = header.fields(kind)[index]
    return math.prod(header.spec.shape) * len(header.spec.components(field))
