"""Pairs of consecutive frames of the training split, and trajectories of the split valid, in bounded memory.

Shape letters: K pairs, D numbers of a frame, V trajectories, T frames, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.baselines.linear_map import Scaling
from pipeline.problem import problem_of

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset

#: The largest number of pairs, and the bounds of their memory (bytes) and of a Gram matrix's operations.
_MAX_PAIRS, _MAX_BYTES, _MAX_OPERATIONS = 512, 2**29, 2e9
#: The number of trajectories of the split valid that select a penalty or a rank.
_MAX_VALID = 4


@dataclass(frozen=True)
class TrainingPairs:
    """Scaled pairs of consecutive frames.

    Attributes:
        scaling: the scaling of the frames.
        first: the first frame of each pair, (K, D).
        second: the second frame of each pair, (K, D).
        valid: scaled trajectories of the split valid, (V, T, D), without influence on the map itself.
        total: the number of pairs of the training split.
    """

    scaling: Scaling
    first: np.ndarray
    second: np.ndarray
    valid: np.ndarray
    total: int

    @property
    def words(self) -> str:
        """The number of pairs in words."""
        count = len(self.first)
        return f"all {count}" if count == self.total else f"{count} of {self.total}"


def not_applicable(dataset: Dataset) -> str | None:
    """Return the reason in a sentence if no linear map can be fitted to a data set, or None."""
    if not dataset.num_trajectories("train"):
        return "The data set has no training split."
    steps = np.diff(dataset.times)
    if len(steps) and np.ptp(steps) > 1e-6 * steps.mean():
        return "The times of the frames are not evenly spaced."
    if dataset.num_trajectories("train") * len(steps) < 2:
        return "The training split has fewer than two pairs of consecutive frames."
    return None


def training_pairs(dataset: Dataset) -> TrainingPairs:
    """Return evenly chosen pairs of the training split, the same on any number of ranks.

    The number of pairs is at most 512, and so small that both arrays take at most 512 MiB and that the
    products of all pairs take about a second.
    """
    statistics = problem_of(dataset).statistics
    scaling = Scaling(np.asarray(statistics.mean, np.float64), np.asarray(statistics.std, np.float64))
    windows = dataset.windows("train", 2)
    total, size = len(windows), len(dataset.spec.channels) * int(np.prod(dataset.spec.shape))
    count = int(min(total, _MAX_PAIRS, _MAX_BYTES // (16 * size), (_MAX_OPERATIONS / size) ** 0.5))
    indices = np.unique(np.linspace(0, total - 1, max(count, 2)).round().astype(int))
    pairs = np.empty((2, len(indices), size))
    for row, index in enumerate(indices):
        pairs[:, row] = scaling.rows(windows.take(np.array([index]))["state"][0])
    num_valid = min(_MAX_VALID, dataset.num_trajectories("valid"))
    valid = np.empty((num_valid, len(dataset.times), size))
    for row in range(num_valid):
        valid[row] = scaling.rows(dataset.trajectory("valid", row).state)
    return TrainingPairs(scaling, pairs[0], pairs[1], valid, total)
