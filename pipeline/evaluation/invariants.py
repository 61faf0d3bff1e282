"""The solver's invariants of true and predicted states.

Shape letters: B trajectories, T frames, C channels of the state, Q invariants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from solvers.contract import Trajectory


def invariants(trajectories: Sequence[Trajectory], states: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return the invariants `names` (Q,) of states (B, T, C, *sites), as an array (B, T, Q).

    `trajectories` holds the prepared trajectory of each row (B,). Values that are not finite are kept.
    """
    values = np.empty((*states.shape[:2], len(names)))
    if not names:
        return values
    with np.errstate(all="ignore"):
        for trajectory, frames, row in zip(trajectories, states, values, strict=True):
            for frame, invariants_Q in zip(frames, row, strict=True):
                values_by_name = trajectory.invariants(np.asarray(frame, np.float64))
                invariants_Q[:] = [values_by_name[name] for name in names]
    return values
