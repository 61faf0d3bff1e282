"""The maps of a trajectory on the solver's own grid, which the data do not keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.coarsening.solver import CoarseSolver
from pipeline.evaluation.cases import load
from pipeline.evaluation.report.part import MapGroup
from pipeline.plots.labels import even_frames, time_texts
from pipeline.plots.maps import Scale, draw_map

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset
    from solvers.contract import Solver

#: The number of times after the first.
_NUM_TIMES = 2
_MAX_PIXELS = 300_000


def own_grid_maps(solver: Solver, dataset: Dataset, split: str, position: int) -> MapGroup | None:
    """Return the maps of a trajectory that the solver computes again on its own grid.

    The result is None for data on the solver's own grid.
    """
    if not isinstance(solver, CoarseSolver):
        return None
    fine = solver.fine
    cases = load(dataset, split, [position])
    is_line = len(fine.spec.shape) == 1
    frames = np.array([0, *even_frames(len(cases.time), len(cases.time) if is_line else _NUM_TIMES)])
    states = np.array(list(fine.prepare(cases.solver_parameters[0]).solve(cases.time[frames])))
    maps = []
    for channel, (name, unit) in enumerate(zip(fine.spec.channels, fine.spec.channel_units, strict=True)):
        values = states[:, channel]
        if is_line:
            values, extent = values.T[None], (1.5, 1.0)
        else:
            values = values[..., values.shape[-1] // 2] if values.ndim == 4 else values
            extent = (fine.spec.extent[0], fine.spec.extent[1])
        pixels = _MAX_PIXELS // len(fine.spec.channels)
        maps.append(
            draw_map(
                name.replace("_", " "), values, Scale.of(values), unit=unit, extent=extent, max_pixels=pixels
            )
        )
    cells, stored_cells = (" x ".join(map(str, spec.shape)) for spec in (fine.spec, dataset.spec))
    caption = (
        f"What the solver resolves: trajectory {position} on the solver's own {cells} cells. The data keep "
        f"{stored_cells} cells."
    )
    times = [""] if is_line else time_texts(cases.time[frames].tolist())
    return MapGroup("The solver's own grid", maps, times, caption)
