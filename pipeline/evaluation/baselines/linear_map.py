"""A linear map from a frame to the next frame, of low rank.

Shape letters: B trajectories, T frames, C channels, D numbers of a frame (channels times sites), R rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.evaluation.schema import Mode


@dataclass(frozen=True)
class Scaling:
    """The map of frames (B, C, *sites) to rows (B, D) whose channels have zero mean and unit variance.

    Attributes:
        mean: the mean of each channel over the training split, (C,).
        std: the standard deviation of each channel, (C,); a constant channel is not scaled.
    """

    mean: np.ndarray
    std: np.ndarray

    def rows(self, frames: np.ndarray) -> np.ndarray:
        """Return the rows of frames, in float64."""
        mean, std = self._columns(frames.ndim)
        rows: np.ndarray = ((np.asarray(frames, np.float64) - mean) / std).reshape(len(frames), -1)
        return rows

    def frames(self, rows: np.ndarray, sites: tuple[int, ...]) -> np.ndarray:
        """Return the frames (B, C, *sites) of rows (B, D)."""
        mean, std = self._columns(2 + len(sites))
        frames: np.ndarray = rows.reshape(len(rows), len(self.mean), *sites) * std + mean
        return frames

    def _columns(self, ndim: int) -> tuple[np.ndarray, np.ndarray]:
        shape = (-1, *[1] * (ndim - 2))
        return self.mean.reshape(shape), np.where(self.std > 0, self.std, 1.0).reshape(shape)


@dataclass(frozen=True)
class LinearMap:
    """The map x' = κ x + d + B diag(w) Uᵀ (x − m) between the rows of two consecutive frames.

    κ is 1 for a map that predicts the change of the frame, and 0 for a map that predicts the frame.

    Attributes:
        keeps_frame: whether κ is 1.
        centre: m, (D,).
        offset: d, (D,).
        inputs: U, (D, R).
        outputs: B, (D, R).
        coupling: Bᵀ U, (R, R), which maps of one fit share.
        weights: w, (R,).
    """

    keeps_frame: bool
    centre: np.ndarray
    offset: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray
    coupling: np.ndarray
    weights: np.ndarray

    def rollout(self, rows: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return the rows (B, len(steps), D) after the given numbers of steps, at least 1, from rows (B, D).

        The map is iterated in its R coordinates z = Uᵀ (x − m):
        x_n = x_0 + n d + B diag(w) Σ_{i<n} z_i for κ = 1, and x_n = d + B diag(w) z_{n−1} for κ = 0.
        A map with growing modes may overflow to infinity.
        """
        coordinates = (rows - self.centre) @ self.inputs
        matrix = self.weights[:, None] * self.coupling
        constant = self.offset @ self.inputs
        if not self.keeps_frame:
            constant = constant - self.centre @ self.inputs
        total, sums = np.zeros_like(coordinates), {}
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(1, int(steps.max(initial=0)) + 1):
                total = total + coordinates if self.keeps_frame else coordinates
                sums[step] = total
                coordinates = (coordinates if self.keeps_frame else 0) + constant + coordinates @ matrix
            chosen = np.stack([sums[int(step)] for step in steps], axis=1)
            states: np.ndarray = (chosen * self.weights) @ self.outputs.T
            if self.keeps_frame:
                states += rows[:, None] + steps[:, None] * self.offset
            else:
                states += self.offset
        return states


@dataclass(frozen=True)
class LinearBaseline:
    """A linear map that was fitted to the training split.

    Attributes:
        scaling: the scaling of the frames.
        linear_map: the map of the scaled frames.
        description: the fit in one sentence.
    """

    scaling: Scaling
    linear_map: LinearMap
    description: str

    def predict(self, states: np.ndarray, mode: Mode) -> np.ndarray:
        """Return the prediction of each frame after the first, of true frames (B, T, C, *sites).

        `one_step` starts from the true frame before, `rollout` from the first frame. The result has the shape
        (B, T - 1, C, *sites) and the precision of `states`.
        """
        predictions = np.empty_like(states[:, 1:])
        sites = states.shape[3:]
        # One trajectory at a time bounds the memory, and its result does not depend on the others.
        with np.errstate(over="ignore", invalid="ignore"):
            for trajectory, prediction in zip(states, predictions, strict=True):
                if mode == "one_step":
                    rows = self.linear_map.rollout(self.scaling.rows(trajectory[:-1]), np.array([1]))[:, 0]
                else:
                    steps = np.arange(1, len(trajectory))
                    rows = self.linear_map.rollout(self.scaling.rows(trajectory[:1]), steps)[0]
                prediction[...] = self.scaling.frames(rows, sites)
        return predictions
