"""Cheaper and more accurate settings of the heat solver, for the comparison with a surrogate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from solvers.contract import Setting, Solver
from solvers.heat.options import WallValues
from solvers.heat.wall_profile import wall_profile
from solvers.numerics.grid import Grid
from solvers.numerics.resample import AffineMap, cubic_matrix

#: The numbers of cells along each axis, divided by those of the original grid.
FRACTIONS = (1, 7 / 8, 3 / 4, 5 / 8, 1 / 2, 7 / 16, 3 / 8, 5 / 16, 1 / 4, 3 / 16, 1 / 8, 1 / 16, 1 / 32)

#: The smallest number of cells along an axis of a coarser grid.
LEAST_CELLS = 4

#: Tolerances of the error control, besides the original one.
TOLERANCES = (1e-3, 1e-2, 5e-2, 2e-1)

#: The numbers of cells of the reference grid divided by those of the original grid, along each axis, the
#: preferred one first. With 3, the centres of the original cells are centres of its cells.
REFERENCE_RATIOS = (3, 2)

#: The largest number of cells of a finer reference grid. Above this number the reference has the original
#: grid, and its error in space is not counted.
MAX_REFERENCE_CELLS = 2**22


def cheaper_settings(
    build: Callable[..., Solver],
    grid: Grid,
    wall_values: tuple[WallValues, ...],
    scheme: str,
    scheme_options: Mapping[str, Any],
) -> Iterator[Setting]:
    """Yield all pairs of a grid and a scheme, see `Solver.cheaper_settings`.

    Args:
        build: returns the solver for the options `resolution`, `scheme`, `time_step` and `tolerance`.
        grid: the original grid.
        wall_values: the values at the walls of each axis.
        scheme: the original scheme, after the choice of `automatic`.
        scheme_options: the original options `scheme`, `time_step` and `tolerance`.
    """
    all_options = [dict(scheme_options) | {"scheme": scheme}]
    if scheme != "exact":
        all_options += [
            {"scheme": name, "time_step": None, "tolerance": tolerance}
            for name in ("adi", "rkl2")
            for tolerance in TOLERANCES
        ]
    for cells in _coarser_grids(grid.resolution):
        to_sites = _map_to(grid, wall_values, cells)
        for options in all_options:
            solver = build(resolution=list(cells), **options)
            yield Setting(_name(cells, options), solver, to_sites)


def reference_setting(
    build: Callable[..., Solver], grid: Grid, wall_values: tuple[WallValues, ...], tolerance: float
) -> Setting:
    """Return a setting with a far smaller error in space and in time, see `Solver.reference_setting`."""
    ratios = (
        ratio
        for ratio in REFERENCE_RATIOS
        if math.prod(ratio * count for count in grid.resolution) <= MAX_REFERENCE_CELLS
    )
    ratio = next(ratios, 1)
    cells = tuple(ratio * count for count in grid.resolution)
    options = {"scheme": "automatic", "time_step": None, "tolerance": min(tolerance / 10, 1e-3)}
    solver = build(resolution=list(cells), **options)
    return Setting(_name(cells, options), solver, _map_to(grid, wall_values, cells))


def _coarser_grids(resolution: tuple[int, ...]) -> list[tuple[int, ...]]:
    grids = [tuple(max(round(fraction * count), 1) for count in resolution) for fraction in FRACTIONS]
    return [cells for cells in grids if cells == resolution or min(cells) >= LEAST_CELLS]


def _name(cells: tuple[int, ...], options: Mapping[str, Any]) -> str:
    """Return the setting in words: "16 x 16 cells, adi, tolerance 0.01"."""
    words = [f"{' x '.join(map(str, cells))} cells"]
    if options["scheme"] != "automatic":
        words.append(options["scheme"])
    if options["time_step"] is not None:
        words.append(f"steps of {options['time_step']:g} s")
    elif options["scheme"] not in ("exact", "euler"):
        words.append(f"tolerance {options['tolerance']:g}")
    return ", ".join(words)


def _map_to(
    grid: Grid, wall_values: tuple[WallValues, ...], cells: tuple[int, ...]
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the map of a temperature (1, *cells) to the cells of `grid`, by cubic interpolation."""
    if cells == grid.resolution:
        return lambda state: state
    other_grid = Grid(grid.communicator, grid.extent, cells, grid.boundary)
    profiles = [
        np.broadcast_to(wall_profile(g, wall_values, g.mesh), g.block_shape) for g in (other_grid, grid)
    ]
    matrices = [
        cubic_matrix(kind, *counts)
        for kind, *counts in zip(grid.boundary, cells, grid.resolution, strict=True)
    ]
    return AffineMap(matrices, *profiles)
