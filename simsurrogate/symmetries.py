"""The symmetries of a problem: operations that map trajectories to trajectories of the same distribution.

An operation commutes with the solver, keeps the distribution of the drawn trajectories, and keeps the scalar
parameters. An operation acts on states and coefficient fields in physical units. Shape letters: d axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pydantic


@dataclass(frozen=True)
class CellMap:
    """An exchange of axes, reflections of axes and a shift, as a map between the cells of a grid.

    Cell i of the result has the value of cell s: s_a = `signs`_a i_b + `cells`_a with b = `axes`_a, modulo
    the number of cells of axis a. A vector turns with the cells. A pseudo field also changes its sign if
    `parity` is -1. Training draws a power of the map.

    Raises:
        ValueError: `axes` are no permutation, a sign is not 1 or -1, or the lengths differ.
    """

    name: str
    axes: tuple[int, ...]
    signs: tuple[int, ...]
    cells: tuple[int, ...]
    kind: Literal["cells"] = "cells"

    def __post_init__(self) -> None:
        if sorted(self.axes) != list(range(len(self.axes))):
            raise ValueError(f"axes {self.axes} are no permutation of the axes")
        if not len(self.signs) == len(self.cells) == len(self.axes) or {*self.signs} - {1, -1}:
            raise ValueError(f"signs {self.signs} and cells {self.cells} do not fit {len(self.axes)} axes")

    @property
    def matrix(self) -> np.ndarray:
        """The matrix A of the map s = A i + `cells`, shape (d, d)."""
        matrix = np.zeros((len(self.axes),) * 2, dtype=np.int64)
        matrix[range(len(self.axes)), self.axes] = self.signs
        return matrix

    @property
    def parity(self) -> int:
        """The determinant of the matrix: -1 for a map that exchanges left and right."""
        return round(float(np.linalg.det(self.matrix)))

    def source(self, cells: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Return the cells s (..., d) whose values the cells i (..., d) of a grid of `shape` receive."""
        source: np.ndarray = (cells @ self.matrix.T + np.array(self.cells)) % np.array(shape)
        return source

    def is_shifted(self, shape: Sequence[int]) -> tuple[bool, ...]:
        """Return whether the map shifts the cells along each axis, after a reflection at the centre."""
        return tuple(
            (offset - (size - 1 if sign < 0 else 0)) % size != 0
            for sign, offset, size in zip(self.signs, self.cells, shape, strict=True)
        )


@dataclass(frozen=True)
class SignChange:
    """The change of the sign of some fields of the state; all other fields keep their values."""

    name: str
    fields: tuple[str, ...]
    kind: Literal["sign"] = "sign"


@dataclass(frozen=True)
class ParticleMap:
    """An operation on particles.

    rotation: a uniformly random rotation of positions and velocities about the origin.
    reflection: the reflection of the first direction; rotations make it a reflection of any direction.
    permutation: a uniformly random order of the particles, with their coefficient fields.
    boost: a random velocity of all particles, with the standard deviation of the velocities of the data.
    """

    name: Literal["rotation", "reflection", "permutation", "boost"]
    kind: Literal["particles"] = "particles"


#: Manifests and `model.json` hold symmetries with their `kind`.
Symmetry = Annotated[CellMap | SignChange | ParticleMap, pydantic.Field(discriminator="kind")]


def keeps_distribution(symmetry: CellMap | SignChange | ParticleMap) -> bool:
    """Return whether the drawn distribution has the symmetry; no distribution is equal after all boosts."""
    return symmetry != ParticleMap("boost")


def check_symmetries(
    symmetries: Sequence[CellMap | SignChange | ParticleMap],
    shape: Sequence[int],
    field_names: Sequence[str],
    has_particles: bool,
) -> None:
    """Check that the symmetries of a spec have different names and suit its sites and fields.

    Raises:
        ValueError: a symmetry does not suit.
    """
    names = [symmetry.name for symmetry in symmetries]
    if len(set(names)) < len(names):
        raise ValueError(f"two symmetries have the same name: {', '.join(names)}")
    for symmetry in symmetries:
        match symmetry:
            case CellMap(axes=axes):
                is_suitable = (
                    not has_particles
                    and len(axes) == len(shape)
                    and [shape[axis] for axis in axes] == [*shape]
                )
            case SignChange(fields=fields):
                is_suitable = {*fields} <= {*field_names}
            case ParticleMap():
                is_suitable = has_particles
        if not is_suitable:
            raise ValueError(f"the symmetry {symmetry} does not suit these sites and fields")
