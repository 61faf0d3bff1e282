"""Linear maps of cell-centred values to the cells of another grid of the same box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class AffineMap:
    """The map A (values - shift) + offset of values (..., *cells), with one matrix of A for each axis."""

    matrices: Sequence[np.ndarray]
    shift: np.ndarray
    offset: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the mapped values."""
        result: np.ndarray = apply_along_axes(self.matrices, values - self.shift) + self.offset
        return result

    def followed_by(self, matrices: Sequence[np.ndarray]) -> AffineMap:
        """Return this map and then another linear map, at the cost of one map."""
        products = [second @ first for second, first in zip(matrices, self.matrices, strict=True)]
        return AffineMap(products, self.shift, apply_along_axes(matrices, self.offset))


def mean_matrix(cells: int, count: int) -> np.ndarray:
    """Return the map (cells / count, cells) to the means of `count` neighbouring cells."""
    return np.kron(np.eye(cells // count), np.full((1, count), 1 / count))


def cubic_matrix(kind: str, from_cells: int, to_cells: int) -> np.ndarray:
    """Return the map (to_cells, from_cells) that interpolates with cubic polynomials through four cells.

    `kind` is the boundary condition of the axis. Beyond a wall the values are mirrored: even for `neumann`
    (zero flux), odd for `dirichlet` (value 0 at the walls).
    """
    position = (np.arange(to_cells) + 0.5) * from_cells / to_cells - 0.5
    first = np.floor(position + 1e-9).astype(int) - 1
    offset = position - first
    matrix = np.zeros((to_cells, from_cells))
    for node in range(4):
        weight = np.prod([(offset - other) / (node - other) for other in range(4) if other != node], axis=0)
        index, sign = _mirrored(kind, first + node, from_cells)
        np.add.at(matrix, (np.arange(to_cells), index), sign * weight)
    return matrix


def _mirrored(kind: str, index: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of each index, which may lie beyond a wall, and the sign of its value."""
    if kind == "periodic":
        return index % cells, np.ones(len(index))
    index = index % (2 * cells)
    is_mirrored = index >= cells
    sign = np.where(is_mirrored & (kind == "dirichlet"), -1.0, 1.0)
    return np.where(is_mirrored, 2 * cells - 1 - index, index), sign


def apply_along_axes(matrices: Sequence[np.ndarray], values: np.ndarray) -> np.ndarray:
    """Return values (..., *cells) mapped along each of the last axes by one matrix."""
    num_axes = len(matrices)
    for axis, matrix in enumerate(matrices):
        values = np.moveaxis(np.tensordot(matrix, values, (1, axis - num_axes)), 0, axis - num_axes)
    return values
