"""The heat equation's discrete operator: conservative finite volumes of second order.

On cell i, with faces of harmonic diffusivity and walls half a cell away,

    du_i/dt = sum over faces of c (u_n - u_i)  -  w_i u_i  +  g_i  +  f_i,

    c   = 2 k_i k_n / ((k_i + k_n) h^2)   between neighbours                             (1/s)
    w_i = 2 k_i / h^2,  g_i = w_i u_wall  at a dirichlet wall of temperature u_wall (K)
    g_i = q / h                           at a neumann wall with heat flux q into the box (K m/s)

The flux through a face leaves one cell and enters the other, so the heat changes by w, g and f alone. The
harmonic mean is exact for steady conduction through layers that meet at faces (Patankar, Numerical Heat
Transfer and Fluid Flow, 1980, section 4.2-3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from solvers.heat.stencils import march, march_1d
from solvers.numerics.grid import Grid

#: The continuation beyond the ends of an axis, see `stencils`.
PARITIES = {"periodic": 0.0, "neumann": 1.0, "dirichlet": -1.0}

#: The size of a core's own cache for the rows that a march works on at a time.
_CACHE_BYTES = 960 * 1024

#: The largest number of levels in one pass. With more levels the memory is idle and nothing is gained.
MAX_LEVELS = 12


@dataclass(frozen=True)
class WallTerms:
    """The terms of the walls for this rank's cells: `loss` w (1/s) and `supply` g (K/s), on the block."""

    loss: np.ndarray
    supply: np.ndarray


def wall_terms(
    grid: Grid, values: tuple[tuple[float, float], ...], diffusivity: np.ndarray | float
) -> WallTerms:
    """Return the terms of the walls.

    Args:
        grid: the grid.
        values: the temperature (K) or the flux (K m/s) at the lower and the upper wall of each axis.
        diffusivity: k (m^2/s) on the block.
    """
    k = np.broadcast_to(diffusivity, grid.block_shape)
    loss, supply = np.zeros(grid.block_shape), np.zeros(grid.block_shape)
    for axis in grid.axes:
        width = grid.spacing[axis]
        for end, layer in grid.walls(axis):
            if grid.boundary[axis] == "dirichlet":
                loss[layer] += 2 * k[layer] / width**2
                supply[layer] += 2 * k[layer] / width**2 * values[axis][end]
            else:
                supply[layer] += values[axis][end] / width
    return WallTerms(loss, supply)


class DiffusionOperator:
    """The operator A: the sum over faces minus the loss at the walls, the linear part of the right side.

    `diffusivity` (m^2/s) is an array on the block, or a float for a constant diffusivity.

    Attributes:
        grid: the grid.
        faces: for each axis the padded array of c on the face below each cell, 1/s.
        depth: the number of rows of padding, and of levels in one pass and one halo exchange.
        spectral_bound: an upper bound of the magnitude of the eigenvalues (Gershgorin), 1/s.
    """

    def __init__(self, grid: Grid, diffusivity: np.ndarray | float):
        self.grid = grid
        uniform = isinstance(diffusivity, float) and len(grid.extent) == 2
        self.depth = _depth(grid, 2 if uniform else 3 + len(grid.extent))
        self.faces = _conductances(grid, np.broadcast_to(diffusivity, grid.block_shape), self.depth)
        self.spectral_bound = self._gershgorin()
        self._uniform = np.array([diffusivity / width**2 if uniform else 0.0 for width in grid.spacing])
        rows = grid.block[0]
        has_walls = grid.boundary[0] != "periodic"
        self._ends = (has_walls and rows.start == 0, has_walls and rows.stop == grid.resolution[0])
        self._parities = np.array([PARITIES[kind] for kind in grid.boundary])

    @property
    def interior(self) -> tuple[slice, ...]:
        """The index of the block in a padded array."""
        return self.grid.interior(self.depth)

    def padded(self) -> np.ndarray:
        """Return a padded array of zeros."""
        return self.grid.padded(depth=self.depth)

    def load(self, padded: np.ndarray, values: np.ndarray) -> None:
        """Write a block into a padded array, and fill the padding."""
        padded[self.interior] = values
        self.pad(padded)

    def pad(self, padded: np.ndarray) -> None:
        """Fill all of the padding."""
        for axis in self.grid.axes[1:]:
            _pad_sides(self.grid, padded, axis)
        self.exchange(padded)

    def exchange(self, padded: np.ndarray) -> None:
        """Fill the padding of the first axis."""
        self.grid.exchange(padded, self.depth)
        for at_wall, ghost, cell in zip(
            self._ends, (self.depth - 1, -self.depth), (self.depth, -self.depth - 1), strict=True
        ):
            if at_wall:
                padded[ghost] = self._parities[0] * padded[cell]

    def march(
        self, y: np.ndarray, older: np.ndarray, slope: np.ndarray | None, levels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the last two arrays of the recurrence

            older, y = y, present y + past older + gain A y + slope_gain slope,

        with one row (present, past, gain, slope_gain) of `levels` (levels, 4) for each level; the newest
        array comes first. The arrays `y` and `older` are overwritten.

        All arrays are padded. The padding of `slope` is filled, and the padding of `y` along the inner axes.
        `slope` may be None where present = 1 and past = 0 on all levels; then it counts as 0.
        """
        uniform = self._uniform if slope is None else np.zeros_like(self._uniform)
        if slope is None:
            slope = y if uniform[0] else self.padded()
        for first in range(0, len(levels), self.depth):
            part = levels[first : first + self.depth]
            self.exchange(y)
            if part[0, 1] != 0:
                self.exchange(older)
            block = (part, self.depth, self.grid.block_shape, self._ends, self._parities)
            if len(self.grid.extent) == 1:
                march_1d(y, older, slope, self.faces, *block)
            else:
                march(y, older, slope, self.faces, *block, uniform)
            if len(part) % 2 == 1:
                y, older = older, y
        return y, older

    def _gershgorin(self) -> float:
        """Return the largest row sum of the magnitudes of the matrix."""
        diagonal = np.zeros(self.grid.block_shape)
        for axis, face in enumerate(self.faces):
            diagonal += face[self.interior] + face[_next(self.interior, axis)]
        return self.grid.maximum(float(2 * np.max(diagonal)))


def _depth(grid: Grid, num_arrays: int) -> int:
    """Return the number of levels with rows of `num_arrays` padded arrays that fit in a core's cache."""
    row_bytes = 8 * num_arrays * (math.prod(grid.resolution[1:]) if len(grid.resolution) > 1 else 1)
    return max(1, min(MAX_LEVELS, _CACHE_BYTES // row_bytes - 2, grid.thinnest_slab))


def _conductances(grid: Grid, diffusivity: np.ndarray, depth: int) -> tuple[np.ndarray, ...]:
    """Return for each axis the padded array of c on the face below each cell, 1/s.

    A wall is half a cell away, and the stencil meets the mirror image of the cell at twice the distance: at a
    dirichlet wall c = k / h^2, half of the loss w, and at a neumann wall c = 0.
    """
    padded = grid.padded(diffusivity, depth)
    for axis in grid.axes[1:]:
        if grid.boundary[axis] == "periodic":
            _pad_sides(grid, padded, axis)
    grid.exchange(padded, depth)
    faces = []
    for axis in grid.axes:
        k = np.moveaxis(padded, axis, 0)
        face = np.zeros(k.shape)
        # Beyond a wall k and c are 0.
        total = k[:-1] + k[1:]
        np.divide(2 * k[:-1] * k[1:], total, out=face[1:], where=total != 0)
        cells = grid.interior(depth)[axis]
        if grid.boundary[axis] == "dirichlet":
            for end, _ in grid.walls(axis):
                face[cells.stop if end else cells.start] = k[cells.stop - 1 if end else cells.start]
        stored = grid.padded(depth=depth)
        stored[...] = np.moveaxis(face, 0, axis) / grid.spacing[axis] ** 2
        faces.append(stored)
    return tuple(faces)


def _pad_sides(grid: Grid, padded: np.ndarray, axis: int) -> None:
    """Fill the padding of an inner axis with the other end, or with the mirror image."""
    along, cells = np.moveaxis(padded, axis, 0), grid.interior()[axis]
    first, last, parity = cells.start, cells.stop - 1, PARITIES[grid.boundary[axis]]
    if parity == 0:
        along[first - 1], along[last + 1] = along[last], along[first]
    else:
        along[first - 1], along[last + 1] = parity * along[first], parity * along[last]


def _next(index: tuple[slice, ...], axis: int) -> tuple[slice, ...]:
    """Return the index shifted by one cell along an axis."""
    return tuple(
        slice(part.start + 1, part.stop + 1) if other == axis else part for other, part in enumerate(index)
    )
