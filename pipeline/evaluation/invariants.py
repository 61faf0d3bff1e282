"""What the physics conserves, in predicted states: the solver's own invariants, of truth and prediction.

Shape letters: B trajectories, T frames, C channels of the state, Q invariants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from solvers.contract import Parameters, Solver


def invariants(solver: Solver, states: np.ndarray, parameters: Sequence[Parameters]) -> np.ndarray:
    """The solver's invariants of states (B, T, C, *sites), in the order of its spec, (B, T, Q).

    `parameters` are those that determine each trajectory (B,). What is not finite stays so.
    """
    names = [quantity.name for quantity in solver.spec.invariants]
    found = np.empty((*states.shape[:2], len(names)))
    with np.errstate(all="ignore"):
        for trajectory, drawn, row in zip(states, parameters, found, strict=True):
            prepared = solver.prepare(drawn)
            for frame, values in zip(trajectory, row, strict=True):
                named = prepared.invariants(np.asarray(frame, np.float64))
                values[:] = [named[name] for name in names]
    return found
