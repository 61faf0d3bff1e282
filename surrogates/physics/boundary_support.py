"""Walls whose conditions a surrogate can meet by its form."""

from __future__ import annotations

from surrogates.contract import Problem


def unfit_walls(problem: Problem) -> str | None:
    """Why a surrogate that changes no value at dirichlet walls and no slope at neumann walls cannot learn the
    problem, or None where its walls are no hindrance.
    """
    walls: list[tuple[float, float]] = []
    for axis, kind, ends in zip(
        problem.spec.axis_names, problem.spec.boundaries, problem.spec.boundary_values, strict=True
    ):
        if kind == "neumann" and any(ends):
            return (
                f"it needs neumann walls without flux, and those of {axis} have {ends[0]:g} and {ends[1]:g}"
            )
        if kind == "dirichlet":
            walls.append(ends)
    values = {value for ends in walls for value in ends}
    if len(walls) > 1 and len(values) > 1:
        low, high = min(values), max(values)
        return f"dirichlet walls at {low:g} and {high:g} meet, where no continuous field can be both"
    return None
