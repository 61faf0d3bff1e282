"""The linear temperature profile between dirichlet walls, a part of the initial temperature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simsurrogate.spec import DIRECTIONS
from solvers.heat.options import WallValues
from solvers.numerics.grid import Grid


def wall_profile(grid: Grid, values: tuple[WallValues, ...], coordinates: Mapping[str, Any]) -> Any:
    """Return the mean over the dirichlet axes of the linear profile between their walls, K.

    The profile is 0 without dirichlet axes.

    Args:
        grid: the grid, for its extent and boundary conditions.
        values: the values at the walls of each axis.
        coordinates: arrays (m) by the axes' names.
    """
    dirichlet = [axis for axis in grid.axes if grid.boundary[axis] == "dirichlet"]
    profile: Any = 0.0
    for axis in dirichlet:
        lower, upper = values[axis]
        share = coordinates[DIRECTIONS[axis]] / grid.extent[axis]
        profile = profile + (lower + (upper - lower) * share) / len(dirichlet)
    return profile


def profile_meets_walls(grid: Grid, values: tuple[WallValues, ...]) -> bool:
    """Return whether `wall_profile` meets the boundary conditions at all walls.

    Dirichlet walls are met with a single dirichlet axis, or with one temperature for all; neumann walls are
    met if their fluxes are 0.
    """
    values_of: dict[str, list[WallValues]] = {"dirichlet": [], "neumann": [], "periodic": []}
    for condition, wall_values in zip(grid.boundary, values, strict=False):
        values_of[condition].append(wall_values)
    temperatures = {value for wall_values in values_of["dirichlet"] for value in wall_values}
    meets_dirichlet = len(values_of["dirichlet"]) <= 1 or len(temperatures) == 1
    return meets_dirichlet and not any(any(fluxes) for fluxes in values_of["neumann"])
