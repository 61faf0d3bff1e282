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

from solvers.numerics.grid import Grid, slab

# scipy.fftpack.rfft takes n numbers to n numbers (scipy.fft.rfft does not), as the other two do.
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
    eigenvalues: np.ndarray = 4 / spacing**2 * np.sin(half_phase) ** 2
    return eigenvalues


class SpectralTransform:
    """Takes this rank's block of a field to its block of coefficients, and back.

    With several ranks the coefficients are cut along the second axis, and the data change places by one
    `Alltoallw`; a one-dimensional field is small, and every rank holds all of its coefficients.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        ranks = range(grid.communicator.size)
        self._slabs = [[slab(count, len(ranks), rank) for rank in ranks] for count in grid.resolution]

    @property
    def block(self) -> tuple[slice, ...]:
        """The coefficients of this rank."""
        parts = [slice(0, count) for count in self.grid.resolution]
        if len(parts) > 1:
            parts[1] = self._slabs[1][self.grid.communicator.rank]
        return tuple(parts)

    def eigenvalues(self) -> np.ndarray:
        """Of the negative discrete Laplacian, for this rank's coefficients, 1/m^2."""
        grid = self.grid
        total = np.zeros([part.stop - part.start for part in self.block])
        for axis, part in enumerate(self.block):
            values = laplacian_eigenvalues(grid.boundary[axis], grid.resolution[axis], grid.spacing[axis])
            total += grid.along(axis, values[part])
        return total

    def forward(self, field: np.ndarray) -> np.ndarray:
        """The coefficients of a field."""
        values = field
        for axis in self.grid.axes[1:]:
            values = _FORWARD[self.grid.boundary[axis]](values, axis)
        values = self._to_columns(values)
        return _FORWARD[self.grid.boundary[0]](values, 0) if values.size else values

    def inverse(self, coefficients: np.ndarray) -> np.ndarray:
        """The field with these coefficients."""
        values = coefficients
        if values.size:
            values = _INVERSE[self.grid.boundary[0]](values, 0)
        values = self._to_rows(values)
        for axis in self.grid.axes[1:]:
            values = _INVERSE[self.grid.boundary[axis]](values, axis)
        return values

    def _to_columns(self, values: np.ndarray) -> np.ndarray:
        """From slabs of the first axis to slabs of the second (the whole, in one dimension)."""
        if self.grid.communicator.size == 1:
            return values
        if len(self.grid.resolution) > 1:
            shape = [part.stop - part.start for part in self.block]
            return self._exchange(values, 1, np.empty(shape), 0)
        whole = np.empty(self.grid.resolution)
        counts = [part.stop - part.start for part in self._slabs[0]]
        self.grid.communicator.Allgatherv(np.ascontiguousarray(values), (whole, counts))
        return whole

    def _to_rows(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `_to_columns`."""
        if self.grid.communicator.size == 1:
            return values
        if len(self.grid.resolution) > 1:
            return self._exchange(values, 0, np.empty(self.grid.block_shape), 1)
        return values[self.grid.block]

    def _exchange(self, source: np.ndarray, cut: int, target: np.ndarray, join: int) -> np.ndarray:
        """Cuts `source` along one axis into slabs for the ranks, and joins theirs along another."""
        source = np.ascontiguousarray(source)
        sent = [_slab_type(source, cut, part) for part in self._slabs[cut]]
        received = [_slab_type(target, join, part) for part in self._slabs[join]]
        self.grid.communicator.Alltoallw([source, sent], [target, received])
        for datatype in sent + received:
            datatype.Free()
        return target


def _slab_type(array: np.ndarray, axis: int, part: slice) -> MPI.Datatype:
    """The MPI type of a slab of a contiguous array; of nothing where the slab is empty."""
    shape, start = list(array.shape), [0] * array.ndim
    shape[axis], start[axis] = part.stop - part.start, part.start
    if prod(shape) == 0:
        return MPI.DOUBLE.Create_contiguous(0).Commit()
    return MPI.DOUBLE.Create_subarray(list(array.shape), shape, start).Commit()
