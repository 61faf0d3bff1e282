"""The heat equation's discrete operator: conservative finite volumes of second order.

On cell i, with faces of harmonic diffusivity and walls half a cell away,

    du_i/dt = sum over faces of c (u_n - u_i)  -  w_i u_i  +  g_i  +  f_i,

    c   = 2 k_i k_n / ((k_i + k_n) h^2)   between neighbours                             (1/s)
    w_i = 2 k_i / h^2,  g_i = w_i u_wall  at a dirichlet wall of temperature u_wall (K)
    g_i = q / h                           at a neumann wall with heat flux q into the box (K m/s)

What crosses a face leaves one cell and enters the other, so the heat changes by w, g and f alone.
The harmonic mean is exact for steady conduction through layers that meet at faces (Patankar, Numerical
Heat Transfer and Fluid Flow, 1980, section 4.2-3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solvers.grid import Grid
from solvers.heat_kernels import SWEEPS


@dataclass(frozen=True)
class Walls:
    """What the walls do to this rank's cells: `loss` w (1/s) and `supply` g (K/s), on the block."""

    loss: np.ndarray
    supply: np.ndarray


def walls(grid: Grid, values: tuple[tuple[float, float], ...], diffusivity: np.ndarray | float) -> Walls:
    """The walls' part, from the wall values of each axis, lower and upper, and k (m^2/s) on the block."""
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
    return Walls(loss, supply)


class DiffusionOperator:
    """The sum over faces, less the walls' loss: all of the right side that is linear in u.

    Attributes:
        spectral_bound: no eigenvalue is larger in magnitude (Gershgorin), 1/s.
    """

    def __init__(self, grid: Grid, diffusivity: np.ndarray, loss: np.ndarray):
        self.grid = grid
        self.faces = _conductances(grid, diffusivity)
        self._periodic = tuple(kind == "periodic" for kind in grid.boundary)
        self._sweep = SWEEPS[len(grid.extent)]
        self.spectral_bound = self._gershgorin(loss)

    def apply(
        self,
        out: np.ndarray,
        y: np.ndarray,
        older: np.ndarray,
        slope: np.ndarray,
        weights: tuple[float, float, float, float],
    ) -> None:
        """Sets out = present y + past older + gain A y + slope_gain slope, for those four weights.

        All arrays are padded, and `out` is none of the others. Ghost rows of `y` are filled first.
        """
        self.grid.exchange(y)
        self._sweep(out, y, older, slope, self.faces, self._periodic, weights)

    def load(self, padded: np.ndarray, values: np.ndarray) -> None:
        """Puts a block into a padded array, ready for `apply`."""
        padded[self.grid.interior] = values
        for axis in self.grid.axes[1:]:
            if self._periodic[axis]:
                _wrap(padded, axis)

    def _gershgorin(self, loss: np.ndarray) -> float:
        """The largest sum over a row of the matrix's magnitudes."""
        diagonal = np.zeros(self.grid.block_shape)
        for axis, face in enumerate(self.faces):
            diagonal += face[self.grid.interior] + face[_index(self.grid, axis, 2, None)]
        # The wall's loss stands on the diagonal alone; every other face also beside it.
        return self.grid.maximum(float(np.max(2 * diagonal - loss)))


def _conductances(grid: Grid, diffusivity: np.ndarray) -> tuple[np.ndarray, ...]:
    """For each axis the padded array of c on the face below each cell; w at dirichlet walls."""
    padded = grid.padded(diffusivity)
    grid.exchange(padded)
    for axis in grid.axes[1:]:
        if grid.boundary[axis] == "periodic":
            _wrap(padded, axis)
    faces = []
    for axis in grid.axes:
        face = grid.padded()
        below, above = padded[_index(grid, axis, 0, -1)], padded[_index(grid, axis, 1, None)]
        # Beyond a wall k is 0, and so is c.
        face[_index(grid, axis, 1, None)] = 2 * below * above / (below + above)
        if grid.boundary[axis] == "dirichlet":
            for end, layer in grid.walls(axis):
                outermost = _index(grid, axis, -1, None) if end else _index(grid, axis, 1, 2)
                face[outermost] = 2 * diffusivity[layer]
        faces.append(face / grid.spacing[axis] ** 2)
    return tuple(faces)


def _index(grid: Grid, axis: int, start: int, stop: int | None) -> tuple[slice, ...]:
    """From `start` to `stop` along `axis` of a padded array, the interior along the others."""
    return tuple(slice(start, stop) if other == axis else slice(1, -1) for other in grid.axes)


def _wrap(padded: np.ndarray, axis: int) -> None:
    """Copies the ends of a periodic axis into the padding."""
    along = np.moveaxis(padded, axis, 0)
    along[0], along[-1] = along[-2], along[1]
