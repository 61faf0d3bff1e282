"""The picture of a trajectory on the solver's own grid, which the data do not keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.coarsening.solver import CoarseSolver
from pipeline.evaluation.cases import load
from pipeline.plots import fields

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.data.dataset import Dataset
    from solvers.contract import Solver

#: The number of frames of the picture, the first and the last among them.
_NUM_FRAMES = 3


def draw_own_grid(solver: Solver, dataset: Dataset, split: str, position: int) -> tuple[Figure, str] | None:
    """Return the figure of a trajectory that the solver computes again on its own grid, and its caption.

    The result is None for data on the solver's own grid.
    """
    if not isinstance(solver, CoarseSolver):
        return None
    fine = solver.fine
    cases = load(dataset, split, [position])
    trajectory = fine.prepare(cases.solver_parameters[0])
    chosen = np.unique(np.linspace(0, len(cases.time) - 1, _NUM_FRAMES).round().astype(int))
    states = np.array(list(trajectory.solve(cases.time[chosen])))
    coefficients = trajectory.coefficient_fields
    if coefficients is None:
        coefficients = np.empty((0, *fine.spec.shape))
    cells, stored_cells = (" x ".join(map(str, spec.shape)) for spec in (fine.spec, dataset.spec))
    caption = (
        f"What the solver resolves: trajectory {position} on the solver's own {cells} cells. The data keep "
        f"{stored_cells} cells."
    )
    return fields.draw(fine.spec, cases.time[chosen], states, coefficients), caption
