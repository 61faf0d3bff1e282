"""The driver: a stepped trajectory from frame to frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from solvers.contract import SteppedTrajectory


def rollout(trajectory: SteppedTrajectory, times: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the states (C, *block) at the evenly spaced `times` (T,), which begin at 0.

    Every frame spans the same duration to the last bit, so that a step which divides one divides all.
    """
    state = trajectory.initial_state
    yield state
    duration = float(times[-1]) / max(len(times) - 1, 1)
    for time in times[:-1]:
        state = trajectory.advance(state, float(time), duration)
        yield state
