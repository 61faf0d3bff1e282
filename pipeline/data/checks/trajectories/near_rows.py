"""The search for trajectories that are nearly equal, by short sketches of their values.

A test trajectory that is nearly a training trajectory makes an evaluation too good. A small distance is no
proof, because densely drawn parameters give close trajectories, too. The search therefore compares the
distance r_k of a trajectory to its k-th nearest one with the next larger distance. For independent draws from
a distribution of dimension d, r_k / r_{k+1} is below x with probability x^(k d) (Facco et al. 2017,
"Estimating the intrinsic dimension of datasets by a minimal neighborhood information",
doi:10.1038/s41598-017-11873-y). A small ratio at k = 1 is a pair of near copies, and at larger k a group of
k + 1 of them. Any number of trajectories may have copies, so the estimate of d leaves out the copies.

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
#: The largest distance of a near copy, divided by the distance to the next trajectory.
LARGEST_RATIO = 0.1
#: The near copies of a trajectory that are found, at most.
_MAX_COPIES = 7
#: A larger dimension does not change the largest ratio.
_MAX_DIMENSION = 100.0
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
    # The missing values of measured data count as 0.
    return random_sums(np.nan_to_num(values)) if np.isnan(sums).any() else sums


class Pair(NamedTuple):
    """The indices of two trajectories, the larger first, and their distance over that to the next one."""

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
    distances, neighbours = _nearest(points, _MAX_COPIES + 1)
    ratios = _ratios(distances)
    is_copy = _is_copy(ratios, np.full(_MAX_COPIES, LARGEST_RATIO))
    # One trajectory of each group of near copies.
    singles = points[~(is_copy & (neighbours[:, :-1] < np.arange(len(rows))[:, None])).any(axis=1)]
    are_enough = len(singles) >= MIN_TRAJECTORIES // 2
    single_ratios = _ratios(_nearest(singles, 2)[0])[:, 0] if are_enough else np.empty(0)
    bounds = [
        largest_ratio(dimension(single_ratios), len(rows) * _MAX_COPIES, count)
        for count in range(1, _MAX_COPIES + 1)
    ]
    is_copy = _is_copy(ratios, np.array(bounds))
    pairs: dict[tuple[int, int], float] = {}
    for row, column in np.argwhere(is_copy).tolist():
        ends = sorted((int(indices[row]), int(indices[neighbours[row, column]])))
        next_distance = distances[row, int(is_copy[row].sum())]
        ratio = float(distances[row, column] / next_distance)
        pairs[ends[1], ends[0]] = min(ratio, pairs.get((ends[1], ends[0]), math.inf))
    return sorted((Pair(*ends, ratio) for ends, ratio in pairs.items()), key=lambda pair: pair.ratio)


def dimension(ratios: np.ndarray) -> float:
    """Return a low estimate of the dimension of independent draws, at least 1, from their r1 / r2 (N,).

    Ratios below c = `LARGEST_RATIO` may be those of copies and do not count. The others, y = -ln(r1 / r2),
    have an exponential distribution of the rate d up to L = -ln c. Its likelihood is largest where

        mean of y = 1 / d - L / (exp(d L) - 1).

    The result is 1.5 standard errors d / sqrt(N) lower, because a few ratios may give a large estimate.
    """
    logarithms = -np.log(ratios[ratios >= LARGEST_RATIO])
    if not len(logarithms):
        return 1.0
    mean, limit, result = float(logarithms.mean()), -math.log(LARGEST_RATIO), 1.0
    for _ in range(50):
        result = min(max(1 / (mean + limit / math.expm1(result * limit)), 1.0), _MAX_DIMENSION)
    return max(result * (1 - 1.5 / math.sqrt(len(logarithms))), 1.0)


def largest_ratio(dimension: float, num_ratios: int, count: int = 1) -> float:
    """Return the bound of r_k / r_{k+1} below which k = `count` neighbours are near copies.

    `num_ratios` independent ratios have `FALSE_ALARMS` smaller ones on average, or fewer.
    """
    return min(LARGEST_RATIO, float((FALSE_ALARMS / num_ratios) ** (1 / (count * dimension))))


def _nearest(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances and the rows of the `count` nearest other points of each point, (N, count)."""
    import scipy.spatial

    distances, neighbours = scipy.spatial.cKDTree(points).query(points, k=count + 1)
    is_other = neighbours != np.arange(len(points))[:, None]
    # Of many equal points, the search may return others alone.
    is_other[is_other.all(axis=1), -1] = False
    return distances[is_other].reshape(-1, count), neighbours[is_other].reshape(-1, count)


def _ratios(distances: np.ndarray) -> np.ndarray:
    """Return the quotients of the ascending distances (N, K + 1), (N, K); 1 for those of 0."""
    smaller, larger = distances[:, :-1], distances[:, 1:]
    return np.asarray(np.divide(smaller, larger, out=np.ones_like(smaller), where=larger > 0))


def _is_copy(ratios: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return which of the nearest neighbours are near copies, (N, K), by the ratios (N, K) and bounds (K,).

    The first ratio below `LARGEST_RATIO` separates a possible group from all others.
    """
    rows, is_small = np.arange(len(ratios)), ratios < LARGEST_RATIO
    last = is_small.argmax(axis=1)
    is_group = is_small[rows, last] & (ratios[rows, last] < bounds[last])
    return np.asarray(is_group[:, None] & (np.arange(ratios.shape[1]) <= last[:, None]))
