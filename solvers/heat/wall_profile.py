"""The linear temperature profile between dirichlet walls."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from simsurrogate.spec import DIRECTIONS
from solvers.heat.options import WallValues
from solvers.numerics.grid import Grid


def wall_profile(grid: Grid, values: tuple[WallValues, ...], coordinates: Mapping[str, Any]) -> Any:
    """Return the mean of the linear temperature profiles (K) along the dirichlet axes.

    Without dirichlet axes the profile is 0 K.

    Args:
        grid: the grid, for its extent and boundary conditions.
        values: the values at the walls of each axis.
        coordinates: arrays (m) by axis name.
    """
    dirichlet_axes = [axis for axis in grid.axes if grid.boundary[axis] == "dirichlet"]
    profile: Any = 0.0
    for axis in dirichlet_axes:
        lower, upper = values[axis]
        fraction = coordinates[DIRECTIONS[axis]] / grid.extent[axis]
        profile = profile + (lower + (upper - lower) * fraction) / len(dirichlet_axes)
    return profile


def profile_meets_walls(grid: Grid, values: tuple[WallValues, ...]) -> bool:
    """Return whether `wall_profile` satisfies the boundary conditions at all walls.

    The profile satisfies dirichlet conditions along a single axis, or with equal temperatures at all walls.
    The profile satisfies neumann conditions with fluxes of 0 K m/s.
    """
    values_by_condition: dict[str, list[WallValues]] = {"dirichlet": [], "neumann": [], "periodic": []}
    for condition, wall_values in zip(grid.boundary, values, strict=False):
        values_by_condition[condition].append(wall_values)
    temperatures = {value for wall_values in values_by_condition["dirichlet"] for value in wall_values}
    meets_dirichlet = len(values_by_condition["dirichlet"]) <= 1 or len(temperatures) == 1
    return meets_dirichlet and not any(any(fluxes) for fluxes in values_by_condition["neumann"])


def wall_mismatch(grid: Grid, values: tuple[WallValues, ...]) -> float:
    """Return the largest difference (K) between `wall_profile` and the temperature of a dirichlet wall."""
    dirichlet_axes = [axis for axis in grid.axes if grid.boundary[axis] == "dirichlet"]
    corners = [
        {DIRECTIONS[axis]: end * grid.extent[axis] for axis, end in zip(dirichlet_axes, ends, strict=True)}
        for ends in itertools.product((0, 1), repeat=len(dirichlet_axes))
    ]
    return max(
        (
            abs(wall_profile(grid, values, corner) - values[axis][round(corner[name] / grid.extent[axis])])
            for corner in corners
            for axis, name in ((axis, DIRECTIONS[axis]) for axis in dirichlet_axes)
        ),
        default=0.0,
    )
