"""Separable real transforms over slabs, that diagonalise the cell-centred Laplacian.

Each axis has its own: the real Fourier transform where it is periodic, DST-II between dirichlet walls and
DCT-II between neumann walls, the walls half a cell beyond the outermost cells.
"""

from __future__ import annotations

from math import prod

import numpy as np
import scipy.fft
import scipy.fftpack
from mpi4py import MPI

from solvers.grid import Grid, slab

# scipy.fftpack.rfft is the only real-to-real Fourier transform of scipy: n numbers to n numbers, so that
# all three kinds share one layout.
_FORWARD = {
    "periodic": lambda values, axis: scipy.fftpack.rfft(values, axis=axis),
    "dirichlet": lambda values, axis: scipy.fft.dst(values, 2, axis=axis),
    "neumann": lambda values, axis: scipy.fft.dct(values, 2, axis=axis),
}
_INVERSE = {
    "periodic": lambda values, axis: scipy.fftpack.irfft(values, axis=axis),
    "dirichlet": lambda values, axis: scipy.fft.idst(values, 2, axis=axis),
    "neumann": lambda values, axis: scipy.fft.idct(values, 2, axis=axis),
}


def laplacian_eigenvalues(kind: str, count: int, spacing: float) -> np.ndarray:
    """Of the negative second difference on an axis, in the order of its transform, 1/m^2.

    They are 4/h^2 sin^2(kappa h / 2), and the transform's modes have the wave numbers kappa.
    """
    number = np.arange(count)
    if kind == "periodic":
        half_phase = np.pi / count * ((number + 1) // 2)
    else:
        half_phase = np.pi / (2 * count) * (number + 1 if kind == "dirichlet" else number)
    return 4 / spacing**2 * np.sin(half_phase) ** 2


class SpectralTransform:
    """Takes this rank's block of a field to its block of coefficients, and back.

    With several ranks the coefficients are cut along the second axis, and the data change places by one
    `Alltoallw`; a one-dimensional field is small, and every rank holds all of its coefficients.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        self._num_ranks = grid.communicator.size
        self._columns = (
            [slab(grid.resolution[1], self._num_ranks, rank) for rank in range(self._num_ranks)]
            if (len(grid.extent) > 1)
            else []
        )
        self._rows = [slab(grid.resolution[0], self._num_ranks, rank) for rank in range(self._num_ranks)]

    @property
    def block(self) -> tuple[slice, ...]:
        """This rank's coefficients."""
        whole = tuple(slice(0, count) for count in self.grid.resolution)
        if self._num_ranks == 1 or len(whole) == 1:
            return whole
        return (whole[0], self._columns[self.grid.communicator.rank], *whole[2:])

    def eigenvalues(self) -> np.ndarray:
        """Of the negative discrete Laplacian, for this rank's coefficients, 1/m^2."""
        grid = self.grid
        total = np.zeros((1,) * len(grid.extent))
        for axis, part in enumerate(self.block):
            values = laplacian_eigenvalues(grid.boundary[axis], grid.resolution[axis], grid.spacing[axis])
            total = total + np.expand_dims(values[part], [other for other in grid.axes if other != axis])
        return total

    def forward(self, field: np.ndarray) -> np.ndarray:
        """The coefficients of a field."""
        values = field
        for axis in self.grid.axes[1:]:
            values = _FORWARD[self.grid.boundary[axis]](values, axis)
        values = self._gather_rows(values)
        return _FORWARD[self.grid.boundary[0]](values, 0) if values.size else values

    def inverse(self, coefficients: np.ndarray) -> np.ndarray:
        """The field with these coefficients."""
        values = coefficients
        if values.size:
            values = _INVERSE[self.grid.boundary[0]](values, 0)
        values = self._scatter_rows(values)
        for axis in reversed(self.grid.axes[1:]):
            values = _INVERSE[self.grid.boundary[axis]](values, axis)
        return values

    def _gather_rows(self, values: np.ndarray) -> np.ndarray:
        """From slabs of the first axis to slabs of the second."""
        if self._num_ranks == 1:
            return values
        if not self._columns:
            whole = np.empty(self.grid.resolution)
            counts = [part.stop - part.start for part in self._rows]
            self.grid.communicator.Allgatherv(np.ascontiguousarray(values), (whole, counts))
            return whole
        out = np.empty([part.stop - part.start for part in self.block])
        self._exchange(np.ascontiguousarray(values), self._column_parts(values), out, self._row_parts(out))
        return out

    def _scatter_rows(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `_gather_rows`."""
        if self._num_ranks == 1:
            return values
        if not self._columns:
            return values[self.grid.block]
        out = np.empty(self.grid.block_shape)
        self._exchange(np.ascontiguousarray(values), self._row_parts(values), out, self._column_parts(out))
        return out

    def _column_parts(self, array: np.ndarray) -> list[MPI.Datatype]:
        return [_part(array, 1, columns) for columns in self._columns]

    def _row_parts(self, array: np.ndarray) -> list[MPI.Datatype]:
        return [_part(array, 0, rows) for rows in self._rows]

    def _exchange(
        self, source: np.ndarray, parts: list[MPI.Datatype], target: np.ndarray, places: list[MPI.Datatype]
    ) -> None:
        self.grid.communicator.Alltoallw([source, parts], [target, places])
        for datatype in parts + places:
            datatype.Free()


def _part(array: np.ndarray, axis: int, part: slice) -> MPI.Datatype:
    """The MPI type of a slab of a contiguous array; of nothing where the slab is empty."""
    shape, start = list(array.shape), [0] * array.ndim
    shape[axis], start[axis] = part.stop - part.start, part.start
    if prod(shape) == 0:
        return MPI.DOUBLE.Create_contiguous(0).Commit()
    return MPI.DOUBLE.Create_subarray(list(array.shape), shape, start).Commit()
