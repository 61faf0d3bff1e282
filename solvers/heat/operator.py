"""The discrete operator of the heat equation: conservative finite volumes of second order.

The harmonic mean of k gives the conductance of a face. A wall is half a cell from a cell centre. For cell i,

    du_i/dt = sum over faces of c (u_n - u_i)  -  w_i u_i  +  g_i  +  f_i,

    c   = 2 k_i k_n / ((k_i + k_n) h^2)   between neighbours                             (1/s)
    w_i = 2 k_i / h^2,  g_i = w_i u_wall  at a dirichlet wall of temperature u_wall (K)
    g_i = q / h                           at a neumann wall with heat flux q into the box (K m/s)

The flux through a face leaves one cell and enters the neighbouring cell. Only w, g and f change the total
heat. The harmonic mean is exact for steady conduction through layers with interfaces at faces (Patankar,
Numerical Heat Transfer and Fluid Flow, 1980, section 4.2-3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from solvers.heat.stencils import march, march_1d
from solvers.numerics.grid import Grid

#: The parity of the continuation beyond the ends of an axis, see `stencils`.
PARITIES = {"periodic": 0.0, "neumann": 1.0, "dirichlet": -1.0}

#: The size of the cache of one core (bytes), for the rows that a march processes at the same time.
_CACHE_BYTES = 960 * 1024

#: The largest number of levels in one pass; with more levels memory traffic no longer limits the speed.
MAX_LEVELS = 12


@dataclass(frozen=True)
class WallTerms:
    """The wall terms of this rank's cells: `loss` w (1/s) and `supply` g (K/s), arrays on the block."""

    loss: np.ndarray
    supply: np.ndarray


def wall_terms(
    grid: Grid, values: tuple[tuple[float, float], ...], diffusivity: np.ndarray | float
) -> WallTerms:
    """Return the wall terms of this rank's cells.

    Args:
        grid: the grid.
        values: the temperature (K) or heat flux (K m/s) at the lower and the upper wall of each axis.
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
    """The linear operator A of the right side: the sum over faces minus the loss at the walls.

    `diffusivity` (m^2/s) is an array on the block, or a float for a constant diffusivity.

    Attributes:
        grid: the grid.
        faces: for each axis, the padded array of c on the face below each cell, 1/s.
        depth: the number of padding rows, equal to the number of levels in one pass and halo exchange.
        spectral_bound: an upper bound of the magnitude of the eigenvalues (Gershgorin circles), 1/s.
    """

    def __init__(self, grid: Grid, diffusivity: np.ndarray | float):
        self.grid = grid
        is_uniform = isinstance(diffusivity, float) and len(grid.extent) == 2
        self.depth = _depth(grid, 2 if is_uniform else 3 + len(grid.extent))
        self.faces = _conductances(grid, np.broadcast_to(diffusivity, grid.block_shape), self.depth)
        self.spectral_bound = self._gershgorin()
        self._uniform_conductances = np.array(
            [diffusivity / width**2 if is_uniform else 0.0 for width in grid.spacing]
        )
        rows = grid.block[0]
        has_walls = grid.boundary[0] != "periodic"
        self._ends = (has_walls and rows.start == 0, has_walls and rows.stop == grid.resolution[0])
        self._parities = np.array([PARITIES[kind] for kind in grid.boundary])

    @property
    def interior(self) -> tuple[slice, ...]:
        """The index of the block in a padded array."""
        return self.grid.interior(self.depth)

    def padded_array(self) -> np.ndarray:
        """Return a padded array of zeros."""
        return self.grid.padded_array(depth=self.depth)

    def load(self, padded_array: np.ndarray, values: np.ndarray) -> None:
        """Write a block into a padded array and fill the padding."""
        padded_array[self.interior] = values
        self.pad(padded_array)

    def pad(self, padded_array: np.ndarray) -> None:
        """Fill the padding of all axes."""
        for axis in self.grid.axes[1:]:
            _pad_sides(self.grid, padded_array, axis)
        self.exchange(padded_array)

    def exchange(self, padded_array: np.ndarray) -> None:
        """Fill the padding of the first axis."""
        self.grid.exchange(padded_array, self.depth)
        for at_wall, ghost, cell in zip(
            self._ends, (self.depth - 1, -self.depth), (self.depth, -self.depth - 1), strict=True
        ):
            if at_wall:
                padded_array[ghost] = self._parities[0] * padded_array[cell]

    def march(
        self, y: np.ndarray, older: np.ndarray, slope: np.ndarray | None, levels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the last two arrays, the newest array first, of the recurrence

            older, y = y, y_weight y + older_weight older + gain A y + slope_gain slope.

        Each row (y_weight, older_weight, gain, slope_gain) of `levels` (levels, 4) holds the weights of one
        level. The arrays `y` and `older` are overwritten.

        All arrays are padded. The caller fills the padding of `slope`, and the padding of `y` along the inner
        axes. For y_weight = 1 and older_weight = 0 on all levels, `slope` may be None, which means 0.
        """
        uniform_conductances = (
            self._uniform_conductances if slope is None else np.zeros_like(self._uniform_conductances)
        )
        if slope is None:
            slope = y if uniform_conductances[0] else self.padded_array()
        for first_level in range(0, len(levels), self.depth):
            pass_levels = levels[first_level : first_level + self.depth]
            self.exchange(y)
            if pass_levels[0, 1] != 0:
                self.exchange(older)
            arguments = (pass_levels, self.depth, self.grid.block_shape, self._ends, self._parities)
            if len(self.grid.extent) == 1:
                march_1d(y, older, slope, self.faces, *arguments)
            else:
                march(y, older, slope, self.faces, *arguments, uniform_conductances)
            if len(pass_levels) % 2 == 1:
                y, older = older, y
        return y, older

    def _gershgorin(self) -> float:
        """Return the largest sum of the magnitudes in a row of the matrix, 1/s."""
        diagonal = np.zeros(self.grid.block_shape)
        for axis, face in enumerate(self.faces):
            diagonal += face[self.interior] + face[_shift_index(self.interior, axis)]
        return self.grid.max_over_ranks(float(2 * np.max(diagonal)))


def _depth(grid: Grid, num_arrays: int) -> int:
    """Return the number of levels for which the rows of `num_arrays` padded arrays fit in the cache."""
    row_bytes = 8 * num_arrays * (math.prod(grid.resolution[1:]) if len(grid.resolution) > 1 else 1)
    return max(1, min(MAX_LEVELS, _CACHE_BYTES // row_bytes - 2, grid.thinnest_slab))


def _conductances(grid: Grid, diffusivity: np.ndarray, depth: int) -> tuple[np.ndarray, ...]:
    """Return for each axis the padded array of c on the face below each cell, 1/s.

    The stencil reads the mirror image of a cell, at twice the distance of the wall. The conductance is
    therefore c = k / h^2 at a dirichlet wall, half of the loss w, and c = 0 at a neumann wall.
    """
    padded_array = grid.padded_array(diffusivity, depth)
    for axis in grid.axes[1:]:
        if grid.boundary[axis] == "periodic":
            _pad_sides(grid, padded_array, axis)
    grid.exchange(padded_array, depth)
    faces = []
    for axis in grid.axes:
        k = np.moveaxis(padded_array, axis, 0)
        face = np.zeros(k.shape)
        # k and c are 0 beyond a wall.
        k_sum = k[:-1] + k[1:]
        np.divide(2 * k[:-1] * k[1:], k_sum, out=face[1:], where=k_sum != 0)
        cells = grid.interior(depth)[axis]
        if grid.boundary[axis] == "dirichlet":
            for end, _ in grid.walls(axis):
                face[cells.stop if end else cells.start] = k[cells.stop - 1 if end else cells.start]
        conductance = grid.padded_array(depth=depth)
        conductance[...] = np.moveaxis(face, 0, axis) / grid.spacing[axis] ** 2
        faces.append(conductance)
    return tuple(faces)


def _pad_sides(grid: Grid, padded_array: np.ndarray, axis: int) -> None:
    """Fill the padding of an inner axis from the opposite end (periodic) or with the mirror image (wall)."""
    layers, cells = np.moveaxis(padded_array, axis, 0), grid.interior()[axis]
    first, last, parity = cells.start, cells.stop - 1, PARITIES[grid.boundary[axis]]
    if parity == 0:
        layers[first - 1], layers[last + 1] = layers[last], layers[first]
    else:
        layers[first - 1], layers[last + 1] = parity * layers[first], parity * layers[last]


def _shift_index(index: tuple[slice, ...], axis: int) -> tuple[slice, ...]:
    """Return the index shifted by one cell along an axis."""
    return tuple(
        slice(axis_slice.start + 1, axis_slice.stop + 1) if other_axis == axis else axis_slice
        for other_axis, axis_slice in enumerate(index)
    )
