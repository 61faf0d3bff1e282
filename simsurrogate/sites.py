"""The sites of the fields: the cells of a grid, or particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pydantic

DIRECTIONS = ("x", "y", "z")

Boundary = Literal["periodic", "dirichlet", "neumann", "open"]

#: A number of sites. A reader of JSON checks this bound and the bounds below.
Size = Annotated[int, pydantic.Field(ge=1)]


def cell_fractions(size: int) -> np.ndarray:
    """Return the centres of `size` equal cells as fractions of the axis length, shape (size,)."""
    return (np.arange(size) + 0.5) / size


@dataclass(frozen=True)
class Axis:
    """One axis of the sites: `size` cells of equal width from `lower` to `upper`.

    `boundary_values` belong to the lower and the upper end: the value of the field (dirichlet), or the flux
    of the field into the box (neumann). An `open` axis has no boundary condition.
    """

    name: str
    unit: str
    size: Size
    lower: float
    upper: float
    boundary: Boundary
    boundary_values: tuple[float, float] = (0.0, 0.0)

    @property
    def extent(self) -> float:
        """The length of the axis."""
        return self.upper - self.lower

    @property
    def centres(self) -> np.ndarray:
        """The cell centres, shape (size,)."""
        width = (self.upper - self.lower) / self.size
        return self.lower + width * (np.arange(self.size) + 0.5)

    @property
    def has_walls(self) -> bool:
        """Whether the ends are walls with boundary values."""
        return self.boundary in ("dirichlet", "neumann")


@dataclass(frozen=True)
class Grid:
    """The cells of a Cartesian grid, with one axis for each direction."""

    axes: Annotated[tuple[Axis, ...], pydantic.Field(min_length=1)]
    kind: Literal["grid"] = "grid"

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions of the components of a vector."""
        return tuple(axis.name for axis in self.axes)


@dataclass(frozen=True)
class Particles:
    """`count` particles in a space of `dimension` directions, as sites along one open axis `particle`.

    Particles have the vector fields `position` and `velocity`, and the coefficient field `mass`.
    """

    count: Size
    dimension: Annotated[int, pydantic.Field(ge=1, le=len(DIRECTIONS))]
    kind: Literal["particles"] = "particles"

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axis of the particles; its cell centres are the particle indices."""
        return (Axis("particle", "1", self.count, -0.5, self.count - 0.5, "open"),)

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions of the components of a vector."""
        return DIRECTIONS[: self.dimension]


@dataclass(frozen=True)
class Coarsening:
    """The map from the solver's grid to a coarser grid, on which the fields are stored.

    Attributes:
        cells: the number of the solver's cells along each axis in one stored cell.
        method: `cell_averages`, or `spectral_truncation` at the waves that both grids resolve.
    """

    cells: tuple[Annotated[int, pydantic.Field(ge=1, le=2**53)], ...]
    method: Literal["cell_averages", "spectral_truncation"]
