"""The driver of stepped trajectories, from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

#: From a state, its time (s) and a duration (s) to the next state.
Advance = Callable[[np.ndarray, float, float], np.ndarray]


def rollout(initial_state: np.ndarray, advance: Advance, times: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the states (C, *block) at the evenly spaced `times` (T,), which begin at 0 s.

    All frames have the same duration to the last bit: a step that divides one frame divides all frames.
    """
    state = initial_state
    yield state
    duration = float(times[-1]) / max(len(times) - 1, 1)
    for time in times[:-1]:
        state = advance(state, float(time), duration)
        yield state
