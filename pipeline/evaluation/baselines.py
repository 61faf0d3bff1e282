"""What a surrogate has to beat: predictions that need no learning.

Shape letters: B trajectories, T frames, C channels of the state.
"""

from __future__ import annotations

import numpy as np


def persistence(start: np.ndarray, num_frames: int) -> np.ndarray:
    """Nothing changes: the frame `start` (B, C, *sites) again, as a read-only (B, num_frames, C, *sites)."""
    return np.broadcast_to(start[:, None], (start.shape[0], num_frames, *start.shape[1:]))


def training_mean(mean: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The training split's `mean` (C,) of each channel everywhere, shaped as `like` (B, T, C, *sites)."""
    return np.broadcast_to(mean.reshape(-1, *[1] * (like.ndim - 3)), like.shape)
