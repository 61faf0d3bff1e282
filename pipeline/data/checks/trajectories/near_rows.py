"""The search for trajectories that are nearly equal, by short sketches of their values.

A test trajectory that is nearly a training trajectory makes an evaluation too good. A small distance is no
proof, because densely drawn parameters give close trajectories, too. The search therefore compares the
distance r1 of a trajectory to its nearest one with the distance r2 to the second nearest. For independent
draws from a distribution of dimension d, r1 / r2 is below x with probability x^d (Facco et al. 2017,
"Estimating the intrinsic dimension of datasets by a minimal neighborhood information",
doi:10.1038/s41598-017-11873-y). The median of the ratios determines d.

A sketch holds sums of the values with random signs, so the distances of sketches are those of the values up
to a few ten percent (Charikar, Chen & Farach-Colton 2002, "Finding frequent items in data streams").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pipeline.data.checks.trajectories.naming import split_of
from pipeline.data.format.layout import Header, field_path
from simsurrogate.spec import Field

#: The sums of one field at one frame.
SUMS = 16
#: The values of a row that get their signs at once, and the values of all rows in memory.
_CHUNK = 2**18
_VALUES_AT_ONCE = 2**19
#: The expected number of false alarms in a data set of independent draws.
FALSE_ALARMS = 1e-3
#: The fewest trajectories for an estimate of the dimension.
MIN_TRAJECTORIES = 20
#: The relative deviation of a field that does not vary between trajectories.
_ROUND_OFF = 1e-12


def sketches(header: Header, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a sketch of each row, (rows, S): of its first, middle and last frame and coefficient fields."""
    sums = [random_sums(arrays[field_path(field)][:, frame]) for field, frame in _states(header)]
    sums += [random_sums(arrays[field_path(field)]) for field in header.fields("coefficient_fields")]
    return np.concatenate(sums, axis=1)


def sketch_columns(header: Header) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of a sketch that hold the initial state, and those of the coefficient fields."""
    is_initial = [frame == 0 for _, frame in _states(header)]
    num_coefficients = len(header.fields("coefficient_fields"))
    initial = np.repeat(is_initial + [False] * num_coefficients, SUMS)
    coefficients = np.repeat([False] * len(is_initial) + [True] * num_coefficients, SUMS)
    return np.flatnonzero(initial), np.flatnonzero(coefficients)


def _states(header: Header) -> list[tuple[Field, int]]:
    """Return the fields and the frames of a sketch."""
    frames = sorted({0, len(header.times) // 2, len(header.times) - 1})
    return [(field, frame) for field in header.fields("fields") for frame in frames]


def random_sums(values: np.ndarray) -> np.ndarray:
    """Return sums of values (rows, ...) with random signs, (rows, `SUMS`)."""
    values = values.reshape(len(values), math.prod(values.shape[1:]))
    rng, sums = np.random.Generator(np.random.Philox(0)), np.zeros((len(values), SUMS))
    # The signs of a value must not depend on the number of rows.
    for start in range(0, values.shape[1], _CHUNK):
        columns = slice(start, start + _CHUNK)
        num_columns = len(range(*columns.indices(values.shape[1])))
        signs = 2 * rng.integers(0, 2, num_columns, np.int8) - 1
        num_rows = max(_VALUES_AT_ONCE // num_columns, 1)
        for first in range(0, len(values), num_rows):
            rows = slice(first, first + num_rows)
            chunk = values[rows, columns] * signs.astype(np.float64)
            padded = np.pad(chunk, ((0, 0), (0, -num_columns % SUMS)))
            sums[rows] += padded.reshape(len(chunk), -1, SUMS).sum(axis=1)
    return sums


class Pair(NamedTuple):
    """The indices of two trajectories, the larger first, and their r1 / r2."""

    later: int
    earlier: int
    ratio: float

    @property
    def is_in_one_split(self) -> bool:
        """Whether both trajectories belong to the same split."""
        return split_of(self.later) == split_of(self.earlier)


def close_pairs(indices: np.ndarray, rows: np.ndarray) -> list[Pair]:
    """Return the pairs of trajectories that are closer than independent draws, the closest first.

    The list is empty for fewer than 20 trajectories, and where no two trajectories differ.

    Args:
        indices: the indices of the trajectories, (N,).
        rows: their sketches, (N, S).
    """
    if len(rows) < MIN_TRAJECTORIES:
        return []
    # Each field at each frame has the same weight.
    blocks = (rows - rows.mean(axis=0)).reshape(len(rows), -1, SUMS)
    deviation = np.sqrt(np.mean(blocks**2, axis=(0, 2)))
    is_varying = deviation > _ROUND_OFF * np.abs(rows).reshape(blocks.shape).max(axis=(0, 2))
    points = (blocks[:, is_varying] / deviation[is_varying, None]).reshape(len(rows), -1)
    if not points.size:
        return []
    import scipy.spatial

    distances, neighbours = scipy.spatial.cKDTree(points).query(points, k=3)
    is_other = neighbours != np.arange(len(rows))[:, None]
    # Of three equal trajectories, the search may return the two others and a fourth one.
    is_other[is_other.all(axis=1), 2] = False
    nearest = neighbours[is_other].reshape(-1, 2)[:, 0]
    first, second = distances[is_other].reshape(-1, 2).T
    ratios = np.divide(first, second, out=np.ones_like(first), where=second > 0)
    log_ratios = np.log(ratios[(ratios > 0) & (ratios < 1)])
    if not len(log_ratios):
        return []
    dimension = math.log(2) / -float(np.median(log_ratios))
    bound = (FALSE_ALARMS / len(rows)) ** (1 / dimension)
    pairs: dict[tuple[int, int], float] = {}
    for row in np.flatnonzero(ratios < bound).tolist():
        ends = sorted((int(indices[row]), int(indices[nearest[row]])))
        pairs[ends[1], ends[0]] = min(float(ratios[row]), pairs.get((ends[1], ends[0]), math.inf))
    return sorted((Pair(*ends, ratio) for ends, ratio in pairs.items()), key=lambda pair: pair.ratio)
