"""The quantities of interest at the end of a trajectory, as a solver at any setting computes them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from solvers.reductions import Reductions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simsurrogate.spec import QuantityOfInterest
    from solvers.contract import Solver, Trajectory


class LastQuantities:
    """The quantities of a data set, computed by a solver on its own grid.

    Args:
        solver: the solver of a setting on this rank alone.
        quantities: the quantities of the data set, in the order of the surrogate's fields.
    """

    def __init__(self, solver: Solver, quantities: Sequence[QuantityOfInterest]):
        spec = dataclasses.replace(solver.spec, quantities=tuple(quantities))
        self._names = [quantity.name for quantity in quantities]
        self._reductions = Reductions(spec, solver.block, solver.communicator)

    def of(self, trajectory: Trajectory, times: np.ndarray) -> np.ndarray:
        """Return the quantities at the last of `times` (T,), shape (Q, 1)."""
        columns: dict[str, list[float]] = {}
        for frame in trajectory.frames(times):
            for name, value in (frame.quantities() | self._reductions.of_state(frame.state)).items():
                columns.setdefault(name, []).append(value)
        arrays = {name: np.array(values)[None] for name, values in columns.items()}
        arrays |= self._reductions.durations(arrays, times)
        return np.array([arrays[name][0, -1] for name in self._names])[:, None]
