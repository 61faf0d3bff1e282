"""The search for a trajectory that is a part of another one, shifted in time.

Such trajectories are cut from one long solution. A test window that is also a training window makes an
evaluation too good, although the trajectories differ. The search compares the first window of every
trajectory, see `first_windows`, with all windows of all others.

Equal windows are found by hashes. Nearly equal ones are found as nearly equal trajectories are, see
`near_rows`: by the ratio of the distances of a first window to the nearest trajectory and to the second
nearest one, where the distance to a trajectory is that to the nearest of its windows. For the distances, a
random selection of first windows has to be enough; for hashes, all first windows are compared.

Shape letters: N trajectories, Q chosen first windows, W sums of a sketch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.data.checks.result import CheckResult
from pipeline.data.checks.shard_under_test import ShardUnderTest
from pipeline.data.checks.trajectories import near_rows
from pipeline.data.checks.trajectories.first_windows import window_changes, window_hashes, window_sketches
from pipeline.data.checks.trajectories.naming import name_of, split_of
from pipeline.data.checks.trajectories.near_rows import MIN_TRAJECTORIES, SUMS
from pipeline.data.checks.trajectories.row_table import RowTable
from pipeline.data.checks.trajectories.sampled_sites import row_chunks, sampled_values
from pipeline.data.plan import INDICES_PER_SPLIT

#: The chosen first windows of the training split, and of all other splits together.
_MAX_QUERIES = 512
#: The equal windows that a rank remembers.
_MAX_FOUND = 1000
#: The distances that are in memory at a time.
_CHUNK_DISTANCES = 2**19
#: The relative deviation of sums that do not vary between trajectories.
_ROUND_OFF = 1e-12

#: A first window that is a window of another trajectory: the indices of both, and the shift in frames.
OVERLAP = np.dtype([("index", np.int64), ("other", np.int64), ("shift", np.int64), ("ratio", np.float64)])


@dataclass(frozen=True)
class Queries:
    """The first windows of all trajectories, to compare with all windows.

    Attributes:
        hash: the sorted hashes (N,).
        index: the index of the trajectory of each hash (N,).
        frame: the first frame of each window (N,).
        chosen: the indices of the trajectories of the chosen first windows (Q,).
        chosen_frame: the first frame of each chosen window (Q,).
        points: the scaled sketches of the chosen windows (Q, W).
        scale: the factor of each sum; 0 for a sum that does not vary (W,).
    """

    hash: np.ndarray
    index: np.ndarray
    frame: np.ndarray
    chosen: np.ndarray
    chosen_frame: np.ndarray
    points: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, table: RowTable) -> Queries:
        """Return the first windows of a table of all trajectories."""
        rows = np.flatnonzero(table.windows.frame >= 0)
        order = rows[np.argsort(table.windows.hash[rows], kind="stable")]
        chosen = _chosen(table, rows)
        sketches = table.windows.sketch[chosen]
        scale = _scale(sketches) if len(chosen) else np.zeros(sketches.shape[1])
        return cls(
            hash=table.windows.hash[order],
            index=table.index[order],
            frame=table.windows.frame[order],
            chosen=table.index[chosen],
            chosen_frame=table.windows.frame[chosen],
            points=sketches * scale,
            scale=scale,
        )


def _scale(sketches: np.ndarray) -> np.ndarray:
    """Return the factors (W,) that give each field in each frame of sketches (Q, W) the same weight."""
    blocks = sketches.reshape(len(sketches), -1, SUMS)
    deviation = np.sqrt(np.mean((blocks - blocks.mean(axis=0)) ** 2, axis=(0, 2)))
    is_varying = deviation > _ROUND_OFF * np.abs(blocks).max(axis=(0, 2))
    return np.repeat(np.divide(1, deviation, out=np.zeros_like(deviation), where=is_varying), SUMS)


def _chosen(table: RowTable, rows: np.ndarray) -> np.ndarray:
    """Return the rows of the chosen first windows, ascending."""
    rng = np.random.Generator(np.random.Philox(0))
    is_training = table.split[rows] == 0
    parts = [rng.permutation(part)[:_MAX_QUERIES] for part in (rows[is_training], rows[~is_training])]
    return np.sort(np.concatenate(parts))


@dataclass
class Search:
    """The search of one rank through its shards for the windows of `queries`.

    Attributes:
        queries: the first windows.
        equal: the equal windows so far (M,) of `OVERLAP`, at most `_MAX_FOUND` of them.
        nearest: the two smallest squared distances of each chosen window to a trajectory (Q, 2).
        other: the index of the nearest trajectory (Q,).
        shift: the frames between the chosen window and the nearest window (Q,).
    """

    queries: Queries
    equal: np.ndarray
    nearest: np.ndarray
    other: np.ndarray
    shift: np.ndarray

    @classmethod
    def of(cls, queries: Queries) -> Search:
        """Return a search that has seen no shard."""
        num_queries = len(queries.chosen)
        return cls(
            queries,
            np.empty(0, OVERLAP),
            np.full((num_queries, 2), np.inf),
            np.full(num_queries, -1),
            np.zeros(num_queries, np.int64),
        )

    def add(self, shard_under_test: ShardUnderTest) -> None:
        """Compare all windows of a shard with the first windows."""
        header, arrays = shard_under_test.structures.header, shard_under_test.arrays
        if len(header.times) < 2:
            return
        for rows in row_chunks(header, len(arrays["sample"])):
            states = [values.astype(np.float64) for values in sampled_values(header, arrays, "fields", rows)]
            index, is_change = np.array(arrays["sample"][rows]), window_changes(states)
            self._add_equal(index, is_change, window_hashes(states))
            self._add_near(index, is_change, window_sketches(states))

    def merge(self, other: Search) -> None:
        """Add the findings of another rank."""
        self._remember(other.equal)
        self._update(other.nearest[:, 0], other.other, other.shift)
        self.nearest[:, 1] = np.minimum(self.nearest[:, 1], other.nearest[:, 1])

    def _add_equal(self, index: np.ndarray, is_change: np.ndarray, hashes: np.ndarray) -> None:
        """Record the windows (rows, T - 1) whose hashes are those of first windows."""
        queries = self.queries
        row, frame = np.nonzero(is_change & np.isin(hashes, queries.hash))
        first = np.searchsorted(queries.hash, hashes[row, frame], side="left")
        last = np.searchsorted(queries.hash, hashes[row, frame], side="right") - 1
        # Of many equal first windows, the smallest and the largest index are in different splits if any are.
        position = np.concatenate([first, last])
        row, frame = np.tile(row, 2), np.tile(frame, 2)
        is_new = queries.index[position] != index[row]
        is_new[len(first) :] &= last > first
        found = np.zeros(int(is_new.sum()), OVERLAP)
        found["index"], found["other"] = queries.index[position][is_new], index[row][is_new]
        found["shift"] = (frame - queries.frame[position])[is_new]
        self._remember(found)

    def _remember(self, found: np.ndarray) -> None:
        """Add equal windows at other times; those in different splits are the last ones to be forgotten.

        Trajectories that agree at equal times are the subject of `near_rows` and `equal_rows`.
        """
        equal = np.concatenate([self.equal, found[found["shift"] != 0]])
        is_in_one_split = equal["index"] // INDICES_PER_SPLIT == equal["other"] // INDICES_PER_SPLIT
        self.equal = equal[np.argsort(is_in_one_split, kind="stable")[:_MAX_FOUND]]

    def _add_near(self, index: np.ndarray, is_change: np.ndarray, sketches: np.ndarray) -> None:
        """Update the nearest trajectories by the windows (rows, T - 1, W) of trajectories `index`."""
        queries = self.queries
        if not queries.scale.any():
            return
        points = queries.points
        query_squares = np.sum(points**2, axis=1)[:, None]
        rows_at_once = max(_CHUNK_DISTANCES // max(len(points) * sketches.shape[1], 1), 1)
        for start in range(0, len(index), rows_at_once):
            rows = slice(start, start + rows_at_once)
            windows = (sketches[rows] * queries.scale).reshape(-1, points.shape[1])
            squares = query_squares + np.sum(windows**2, axis=1) - 2 * points @ windows.T
            squares = squares.reshape(len(points), -1, sketches.shape[1])
            squares = np.where(is_change[rows], squares, np.inf)
            squares[queries.chosen[:, None] == index[rows]] = np.inf
            frames = squares.argmin(axis=2)
            for position, other in enumerate(index[rows].tolist()):
                frame = frames[:, position]
                distance = np.maximum(squares[np.arange(len(points)), position, frame], 0.0)
                self._update(distance, np.full(len(points), other), frame - queries.chosen_frame)

    def _update(self, squares: np.ndarray, other: np.ndarray, shift: np.ndarray) -> None:
        """Take another trajectory at squared distances (Q,) into account."""
        is_nearer = squares < self.nearest[:, 0]
        second = np.where(is_nearer, self.nearest[:, 0], squares)
        self.nearest[:, 1] = np.minimum(self.nearest[:, 1], second)
        self.nearest[is_nearer, 0] = squares[is_nearer]
        self.other[is_nearer], self.shift[is_nearer] = other[is_nearer], shift[is_nearer]

    def near(self) -> np.ndarray:
        """Return the windows that are nearer to a trajectory than independent draws are, of `OVERLAP`."""
        is_known = np.isfinite(self.nearest).all(axis=1) & (self.nearest[:, 1] > 0)
        if int(is_known.sum()) < MIN_TRAJECTORIES:
            return np.empty(0, OVERLAP)
        ratios = np.ones(len(is_known))
        ratios[is_known] = np.sqrt(self.nearest[is_known, 0] / self.nearest[is_known, 1])
        dimension = near_rows.dimension(ratios[is_known])
        rows = np.flatnonzero(ratios < near_rows.largest_ratio(dimension, len(ratios)))
        found = np.zeros(len(rows), OVERLAP)
        found["index"], found["other"] = self.queries.chosen[rows], self.other[rows]
        found["shift"], found["ratio"] = self.shift[rows], ratios[rows]
        return found


def result(subject: str, search: Search, times: np.ndarray) -> CheckResult:
    """Return the result of `overlapping_windows`.

    Args:
        subject: the data set.
        search: the search through all shards.
        times: the times of the frames (T,), s.
    """
    if len(times) < 3:
        reason = "a trajectory has fewer than three frames, so its only window is the trajectory"
        return CheckResult("overlapping_windows", subject, "not applicable", reason)
    found = np.concatenate([search.equal, search.near()])
    found = found[found["shift"] != 0]
    is_across = np.array([split_of(item["index"]) != split_of(item["other"]) for item in found], bool)
    numbers = {
        "first_windows": float(len(search.queries.hash)),
        "first_windows_for_distances": float(len(search.queries.chosen)),
        "overlaps_across_splits": float(is_across.sum()),
        "overlaps_in_one_split": float(len(found) - is_across.sum()),
    }
    if not len(found):
        return CheckResult("overlapping_windows", subject, "passed", numbers=numbers)
    chosen = found[is_across] if is_across.any() else found
    item = min(chosen, key=lambda entry: float(entry["ratio"]))
    relation = "equals" if item["ratio"] == 0 else "nearly equals"
    message = (
        f"{name_of(item['index'])} starts inside {name_of(item['other'])}: its first window {relation} the "
        f"window there {abs(int(item['shift']))} frames {'later' if item['shift'] > 0 else 'earlier'}"
    )
    if not is_across.any():
        message += f" (overlaps in one split: {len(found)}). A model sees these windows more often"
        return CheckResult("overlapping_windows", subject, "warning", message, numbers)
    message += (
        f" (overlaps across splits: {int(is_across.sum())}). Windows of different splits have to be "
        "different. Put all parts of one long solution into the same split"
    )
    return CheckResult("overlapping_windows", subject, "failed", message, numbers)
