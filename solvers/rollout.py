"""The rollout of stepped trajectories over their frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

#: A function from a state, its time (s) and a duration (s) to the next state.
Advance = Callable[[np.ndarray, float, float], np.ndarray]


def rollout(initial_state: np.ndarray, advance: Advance, times: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the states (C, *block) at the evenly spaced `times` (T,) from 0 s on.

    All frames have bitwise the same duration: a step that divides one frame divides all frames.
    """
    state = initial_state
    yield state
    duration = float(times[-1]) / max(len(times) - 1, 1)
    for time in times[:-1]:
        state = advance(state, float(time), duration)
        yield state
