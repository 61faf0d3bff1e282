"""Separable real transforms that diagonalise the cell-centred Laplacian, distributed over ranks in slabs.

The transform along a periodic axis is the real Fourier transform. The transform between dirichlet walls is
the discrete sine transform DST-II, and between neumann walls the discrete cosine transform DCT-II. Walls are
half a cell beyond the outermost cell centres.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.fftpack

from solvers.numerics.grid import Grid, slab
from solvers.numerics.transpose import slab_datatype

# scipy.fftpack.rfft maps n numbers to n numbers, like DST and DCT and unlike scipy.fft.rfft.
_FORWARD_TRANSFORMS = {
    "periodic": lambda values, axis: scipy.fftpack.rfft(values, axis=axis),
    "dirichlet": lambda values, axis: scipy.fft.dst(values, 2, axis=axis),
    "neumann": lambda values, axis: scipy.fft.dct(values, 2, axis=axis),
}
_INVERSE_TRANSFORMS = {
    "periodic": lambda values, axis: scipy.fftpack.irfft(values, axis=axis),
    "dirichlet": lambda values, axis: scipy.fft.idst(values, 2, axis=axis),
    "neumann": lambda values, axis: scipy.fft.idct(values, 2, axis=axis),
}


def laplacian_eigenvalues(kind: str, count: int, spacing: float) -> np.ndarray:
    """Return the eigenvalues (1/m^2) of the negative second difference along an axis.

    The eigenvalues are 4/h^2 sin^2(kappa h / 2) for the wave numbers kappa of the modes, in the order of
    modes.
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

    The ranks divide the coefficients along the second axis, and one `Alltoallw` transposes the data. For a
    one-dimensional field, every rank holds all coefficients.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        ranks = range(grid.communicator.size)
        self._slabs = [[slab(count, len(ranks), rank) for rank in ranks] for count in grid.resolution]

    @property
    def block(self) -> tuple[slice, ...]:
        """The indices of this rank's coefficients."""
        slices = [slice(0, count) for count in self.grid.resolution]
        if len(slices) > 1:
            slices[1] = self._slabs[1][self.grid.communicator.rank]
        return tuple(slices)

    def eigenvalues(self) -> np.ndarray:
        """Return the eigenvalues (1/m^2) of the negative discrete Laplacian for this rank's coefficients."""
        grid = self.grid
        eigenvalues = np.zeros([axis_slice.stop - axis_slice.start for axis_slice in self.block])
        for axis, axis_slice in enumerate(self.block):
            values = laplacian_eigenvalues(grid.boundary[axis], grid.resolution[axis], grid.spacing[axis])
            eigenvalues += grid.broadcast_along(axis, values[axis_slice])
        return eigenvalues

    def forward(self, field: np.ndarray) -> np.ndarray:
        """Return the coefficients of a field."""
        values = field
        for axis in self.grid.axes[1:]:
            values = _FORWARD_TRANSFORMS[self.grid.boundary[axis]](values, axis)
        values = self._to_columns(values)
        return _FORWARD_TRANSFORMS[self.grid.boundary[0]](values, 0) if values.size else values

    def inverse(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the field with these coefficients."""
        values = coefficients
        if values.size:
            values = _INVERSE_TRANSFORMS[self.grid.boundary[0]](values, 0)
        values = self._to_rows(values)
        for axis in self.grid.axes[1:]:
            values = _INVERSE_TRANSFORMS[self.grid.boundary[axis]](values, axis)
        return values

    def _to_columns(self, values: np.ndarray) -> np.ndarray:
        """Transpose slabs of the first axis to slabs of the second axis; gather a one-dimensional field."""
        if self.grid.communicator.size == 1:
            return values
        if len(self.grid.resolution) > 1:
            shape = [rank_slice.stop - rank_slice.start for rank_slice in self.block]
            return self._exchange(values, 1, np.empty(shape), 0)
        all_values = np.empty(self.grid.resolution)
        counts = [rank_slice.stop - rank_slice.start for rank_slice in self._slabs[0]]
        self.grid.communicator.Allgatherv(np.ascontiguousarray(values), (all_values, counts))
        return all_values

    def _to_rows(self, values: np.ndarray) -> np.ndarray:
        """Invert `_to_columns`."""
        if self.grid.communicator.size == 1:
            return values
        if len(self.grid.resolution) > 1:
            return self._exchange(values, 0, np.empty(self.grid.block_shape), 1)
        return values[self.grid.block]

    def _exchange(
        self, source: np.ndarray, send_axis: int, target: np.ndarray, receive_axis: int
    ) -> np.ndarray:
        """Send slabs of `source` along `send_axis`, and receive slabs of `target` along `receive_axis`."""
        source = np.ascontiguousarray(source)
        send_types = [slab_datatype(source, send_axis, rank_slice) for rank_slice in self._slabs[send_axis]]
        receive_types = [
            slab_datatype(target, receive_axis, rank_slice) for rank_slice in self._slabs[receive_axis]
        ]
        self.grid.communicator.Alltoallw([source, send_types], [target, receive_types])
        for datatype in send_types + receive_types:
            datatype.Free()
        return target
