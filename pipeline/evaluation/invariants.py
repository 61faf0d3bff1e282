"""The solver's invariants of true and predicted states.

Shape letters: B trajectories, T frames, C channels of the state, Q invariants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from solvers.contract import Parameters, Solver


def invariants(solver: Solver, states: np.ndarray, parameters: Sequence[Parameters]) -> np.ndarray:
    """Return the solver's invariants of states (B, T, C, *sites), in the order of its spec, (B, T, Q).

    `parameters` determine each trajectory (B,). Values that are not finite are kept.
    """
    names = [quantity.name for quantity in solver.spec.invariants]
    values = np.empty((*states.shape[:2], len(names)))
    with np.errstate(all="ignore"):
        for trajectory, parameter_values, row in zip(states, parameters, values, strict=True):
            prepared_trajectory = solver.prepare(parameter_values)
            for frame, invariants_Q in zip(trajectory, row, strict=True):
                values_by_name = prepared_trajectory.invariants(np.asarray(frame, np.float64))
                invariants_Q[:] = [values_by_name[name] for name in names]
    return values
