"""Separable real transforms over slabs that diagonalise the cell-centred Laplacian.

A periodic axis has the real Fourier transform, an axis between dirichlet walls the DST-II and between neumann
walls the DCT-II. Walls are half a cell beyond the outermost cell centres.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.fftpack

from solvers.numerics.grid import Grid, slab
from solvers.numerics.transpose import slab_datatype

# scipy.fftpack.rfft maps n numbers to n numbers, as DST and DCT do; scipy.fft.rfft does not.
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
    """Return the eigenvalues (1/m^2) of the negative second difference on an axis.

    The eigenvalues are 4/h^2 sin^2(kappa h / 2) for the wave numbers kappa of the modes, in their order.
    """
    index = np.arange(count)
    if kind == "periodic":
        half_phase = np.pi / count * ((index + 1) // 2)
    else:
        half_phase = np.pi / (2 * count) * (index + 1 if kind == "dirichlet" else index)
    eigenvalues: np.ndarray = 4 / spacing**2 * np.sin(half_phase) ** 2
    return eigenvalues


class SpectralTransform:
    """The transform of this rank's block of a field to its block of coefficients, and the inverse.

    Several ranks divide the coefficients along the second axis, and one `Alltoallw` transposes the data. A
    one-dimensional field is small, and every rank holds all of its coefficients.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        ranks = range(grid.communicator.size)
        self._slabs = [[slab(count, len(ranks), rank) for rank in ranks] for count in grid.resolution]

    @property
    def block(self) -> tuple[slice, ...]:
        """The indices of this rank's coefficients."""
        parts = [slice(0, count) for count in self.grid.resolution]
        if len(parts) > 1:
            parts[1] = self._slabs[1][self.grid.communicator.rank]
        return tuple(parts)

    def eigenvalues(self) -> np.ndarray:
        """Return the eigenvalues (1/m^2) of the negative discrete Laplacian for this rank's coefficients."""
        grid = self.grid
        total = np.zeros([part.stop - part.start for part in self.block])
        for axis, part in enumerate(self.block):
            values = laplacian_eigenvalues(grid.boundary[axis], grid.resolution[axis], grid.spacing[axis])
            total += grid.along(axis, values[part])
        return total

    def forward(self, field: np.ndarray) -> np.ndarray:
        """Return the coefficients of a field."""
        values = field
        for axis in self.grid.axes[1:]:
            values = _FORWARD[self.grid.boundary[axis]](values, axis)
        values = self._to_columns(values)
        return _FORWARD[self.grid.boundary[0]](values, 0) if values.size else values

    def inverse(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the field with these coefficients."""
        values = coefficients
        if values.size:
            values = _INVERSE[self.grid.boundary[0]](values, 0)
        values = self._to_rows(values)
        for axis in self.grid.axes[1:]:
            values = _INVERSE[self.grid.boundary[axis]](values, axis)
        return values

    def _to_columns(self, values: np.ndarray) -> np.ndarray:
        """Transpose slabs of the first axis to slabs of the second axis; in one dimension gather the line."""
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
        """Invert `_to_columns`."""
        if self.grid.communicator.size == 1:
            return values
        if len(self.grid.resolution) > 1:
            return self._exchange(values, 0, np.empty(self.grid.block_shape), 1)
        return values[self.grid.block]

    def _exchange(self, source: np.ndarray, cut: int, target: np.ndarray, join: int) -> np.ndarray:
        """Send slabs of `source`, cut along one axis, and join the received slabs along another axis."""
        source = np.ascontiguousarray(source)
        sent = [slab_datatype(source, cut, part) for part in self._slabs[cut]]
        received = [slab_datatype(target, join, part) for part in self._slabs[join]]
        self.grid.communicator.Alltoallw([source, sent], [target, received])
        for datatype in sent + received:
            datatype.Free()
        return target
