"""Baselines: predictions without learning, which a surrogate has to beat.

Shape letters: B trajectories, T frames, C channels of the state.
"""

from __future__ import annotations

import numpy as np


def persistence(initial_state: np.ndarray, num_frames: int) -> np.ndarray:
    """Return the state (B, C, *sites) at each time, as a read-only array (B, num_frames, C, *sites)."""
    return np.broadcast_to(
        initial_state[:, None], (initial_state.shape[0], num_frames, *initial_state.shape[1:])
    )


def training_mean(mean: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return the training split's `mean` (C,) of each channel everywhere, in the shape of `like`.

    `like` has the shape (B, T, C, *sites).
    """
    return np.broadcast_to(mean.reshape(-1, *[1] * (like.ndim - 3)), like.shape)
