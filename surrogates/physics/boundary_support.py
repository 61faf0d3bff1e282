"""Boundary conditions that the form of a surrogate can satisfy exactly."""

from __future__ import annotations

from surrogates.contract import Problem


def boundary_incompatibility(problem: Problem) -> str | None:
    """Return why the form of a physics-informed surrogate cannot satisfy the boundary conditions, or None.

    Such a surrogate adds a change to the initial state. The change vanishes at dirichlet walls, and its
    normal derivative vanishes at neumann walls.
    """
    dirichlet_walls: list[tuple[float, float]] = []
    for axis in problem.spec.axes:
        lower, upper = axis.boundary_values
        if axis.boundary == "neumann" and (lower or upper):
            return (
                f"it needs neumann walls without flux, but the walls of axis {axis.name} have the fluxes "
                f"{lower:g} and {upper:g}"
            )
        if axis.boundary == "dirichlet":
            dirichlet_walls.append(axis.boundary_values)
    values = {value for wall_values in dirichlet_walls for value in wall_values}
    if len(dirichlet_walls) > 1 and len(values) > 1:
        return (
            f"dirichlet walls with the values {min(values):g} and {max(values):g} meet at an edge, where a "
            "continuous field cannot have both values"
        )
    return None
