"""The first window of each trajectory: two consecutive frames that differ, by a hash and by a sketch.

If a trajectory is a part of another one, shifted in time, then the first window of the later one is a window
of the other. So the first windows of all trajectories find every overlap.

Shape letters: N rows, T frames, n sampled values of a field, F fields, W sums of a sketch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.checks.trajectories.near_rows import SUMS, random_sums


@dataclass(frozen=True)
class FirstWindows:
    """The first windows of some trajectories.

    Attributes:
        frame: the first frame of each window (N,); -1 for a trajectory whose frames are all equal.
        hash: a hash of each window (N,).
        sketch: random sums of each field in both frames, (N, W).
    """

    frame: np.ndarray
    hash: np.ndarray
    sketch: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[FirstWindows]) -> FirstWindows:
        """Return the windows of all parts."""
        return cls(
            np.concatenate([part.frame for part in parts]),
            np.concatenate([part.hash for part in parts]),
            np.concatenate([part.sketch for part in parts]),
        )

    def taken(self, rows: np.ndarray) -> FirstWindows:
        """Return the windows of some rows."""
        return FirstWindows(self.frame[rows], self.hash[rows], self.sketch[rows])


def first_windows(states: Sequence[np.ndarray]) -> FirstWindows:
    """Return the first windows of rows with the sampled values `states` of each field, (N, T, n)."""
    num_rows = len(states[0])
    is_change = window_changes(states)
    frame = np.where(is_change.any(axis=1), is_change.argmax(axis=1), -1)
    rows = np.arange(num_rows)
    windows = [
        np.stack([values[rows, frame], values[rows, (frame + 1) % values.shape[1]]], axis=1)
        for values in states
    ]
    return FirstWindows(frame, window_hashes(windows)[:, 0], window_sketches(windows)[:, 0])


def window_changes(states: Sequence[np.ndarray]) -> np.ndarray:
    """Return which windows have two different frames, (N, T - 1)."""
    changes = [(values[:, 1:] != values[:, :-1]).any(axis=2) for values in states]
    return np.asarray(np.any(changes, axis=0))


def window_hashes(states: Sequence[np.ndarray]) -> np.ndarray:
    """Return a hash of each window of two frames, (N, T - 1)."""
    num_rows, num_frames = states[0].shape[:2]
    hashes = np.empty((num_rows, num_frames - 1), np.uint64)
    for row in range(num_rows):
        digests = [
            hashlib.blake2b(
                b"".join(values[row, frame].tobytes() for values in states), digest_size=8
            ).digest()
            for frame in range(num_frames)
        ]
        for frame in range(num_frames - 1):
            window = hashlib.blake2b(digests[frame] + digests[frame + 1], digest_size=8)
            hashes[row, frame] = int.from_bytes(window.digest(), "little")
    return hashes


def window_sketches(states: Sequence[np.ndarray]) -> np.ndarray:
    """Return a sketch of each window of two frames, (N, T - 1, 2 F `SUMS`)."""
    num_rows, num_frames = states[0].shape[:2]
    sums = [
        random_sums(values.reshape(-1, values.shape[2])).reshape(num_rows, num_frames, SUMS)
        for values in states
    ]
    frames = np.concatenate(sums, axis=2)
    return np.concatenate([frames[:, :-1], frames[:, 1:]], axis=2)
