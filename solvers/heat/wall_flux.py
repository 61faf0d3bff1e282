"""The heat flux through dirichlet walls, as quantities of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS, QuantityOfInterest
from solvers.heat.blocks import grid_unit
from solvers.heat.options import WallValues
from solvers.numerics.grid import Grid

Wall = Literal["x_lower", "x_upper", "y_lower", "y_upper", "z_lower", "z_upper"]

#: The flux through a wall: the wall's cells on this rank, their conductance (m^d/s), and its temperature (K).
WallTerm = tuple[tuple[slice, ...], np.ndarray, float]


def wall_flux_quantities(grid: Grid, walls: Sequence[Wall]) -> tuple[QuantityOfInterest, ...]:
    """Return the quantity `flux_WALL` of each wall.

    Raises:
        UserError: a wall is no dirichlet wall of the box, or is named twice.
    """
    for wall in walls:
        name = wall[0]
        axis = DIRECTIONS.index(name)
        condition = grid.boundary[axis] if axis < len(grid.extent) else "absent"
        if condition != "dirichlet" or walls.count(wall) > 1:
            legal = [
                f"{DIRECTIONS[axis]}_{end}"
                for axis in grid.axes
                if grid.boundary[axis] == "dirichlet"
                for end in ("lower", "upper")
            ]
            found = "is named twice" if condition == "dirichlet" else f"is at an axis that is {condition}"
            raise UserError(
                f"solver.wall_fluxes={list(walls)}: the wall {wall} {found}. Each dirichlet wall may be "
                f"named once: {', '.join(legal) or 'this box has none'}. Type "
                f"solver.wall_fluxes=[{','.join(legal)}]"
            )
    return tuple(
        QuantityOfInterest(
            f"flux_{wall}",
            grid_unit(grid),
            f"heat flux out of the box through the {wall[2:]} wall of {wall[0]}",
        )
        for wall in walls
    )


def wall_flux_terms(
    grid: Grid, walls: Sequence[Wall], values: Sequence[WallValues], diffusivity: np.ndarray
) -> dict[str, WallTerm | None]:
    """Return the terms of each wall by the name of its quantity; None for a wall beyond this rank's block."""
    terms: dict[str, WallTerm | None] = {}
    for wall in walls:
        axis, end = DIRECTIONS.index(wall[0]), int(wall.endswith("upper"))
        own_layers = [layer for layer_end, layer in grid.walls(axis) if layer_end == end]
        terms[f"flux_{wall}"] = (
            (
                own_layers[0],
                2 * diffusivity[own_layers[0]] / grid.spacing[axis] ** 2 * grid.cell_volume,
                values[axis][end],
            )
            if own_layers
            else None
        )
    return terms


def wall_fluxes(
    grid: Grid, terms: Mapping[str, WallTerm | None], temperature: np.ndarray
) -> dict[str, float]:
    """Return the heat flux out of the box (K m^d/s) through each wall, on all ranks."""
    fluxes = {}
    for name, term in terms.items():
        flux = 0.0
        if term is not None:
            layer, conductance, wall_temperature = term
            flux = float(np.sum(conductance * (temperature[layer] - wall_temperature)))
        fluxes[name] = float(grid.sum_over_ranks(flux)[0])
    return fluxes
