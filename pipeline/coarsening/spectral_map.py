"""The map of periodic fields between two grids of one box, by their Fourier series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mpi4py import MPI

#: The slice of a rank's cells along each axis.
Block = tuple[slice, ...]


def resample_axis(values: np.ndarray, axis: int, to_cells: int) -> np.ndarray:
    """Return periodic cell-centred values at the centres of `to_cells` cells along one axis.

    The result holds the waves k that both grids resolve, |k| < min(from_cells, to_cells) / 2. The mean is
    kept. A wave of two cells is dropped, because its phase is not resolved.
    """
    import scipy.fft  # its import costs 0.3 s, and every stage imports this module

    from_cells = values.shape[axis]
    waves = np.arange((min(from_cells, to_cells) + 1) // 2)
    spectrum = scipy.fft.rfft(values, axis=axis).take(waves, axis)
    shift = np.exp(1j * np.pi * waves * (1 / to_cells - 1 / from_cells)) * (to_cells / from_cells)
    along_axis = [-1 if index == axis % values.ndim else 1 for index in range(values.ndim)]
    result: np.ndarray = scipy.fft.irfft(spectrum * shift.reshape(along_axis), to_cells, axis=axis)
    return result


class SpectralMap:
    """The map of fields (..., *block) on one grid to fields (..., *block) on another grid of the same box.

    All ranks call an instance together. The contributions of the ranks are added in their order, so that
    equal groups of ranks return equal bits.

    Args:
        communicator: the ranks that share a field.
        from_cells: the number of cells of the first grid along each axis.
        to_cells: the number of cells of the other grid along each axis.
        from_block: the cells of this rank on the first grid.
        to_blocks: the cells of each rank on the other grid.
    """

    def __init__(
        self,
        communicator: MPI.Intracomm | None,
        from_cells: Sequence[int],
        to_cells: Sequence[int],
        from_block: Block | None = None,
        to_blocks: Sequence[Block] = (),
    ):
        self._communicator, self._to_blocks = communicator, to_blocks
        self._from_cells, self._to_cells = from_cells, to_cells
        self._block = from_block or tuple(slice(0, count) for count in from_cells)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the field of the other grid."""
        axes = zip(self._block, self._from_cells, self._to_cells, range(-len(self._block), 0), strict=True)
        # The axes of which this rank holds all cells come first, because they make the values fewer.
        by_share = sorted(axes, key=lambda entry: entry[0].stop - entry[0].start < entry[1])
        with np.errstate(invalid="ignore", over="ignore"):
            for cells, from_cells, to_cells, axis in by_share:
                padding = [(0, 0)] * values.ndim
                padding[axis] = (cells.start, from_cells - cells.stop)
                # A map is linear, so the cells of other ranks count as 0 in this rank's part of the sum.
                padded_values = np.pad(values, padding) if any(padding[axis]) else values
                values = resample_axis(padded_values, axis, to_cells)
        if self._communicator is None or self._communicator.size == 1:
            return values
        return self._sum_of_parts(self._communicator, values)

    def _sum_of_parts(self, communicator: MPI.Intracomm, own_part: np.ndarray) -> np.ndarray:
        """Return this rank's block of the sum of the parts of all ranks."""
        result = np.empty(0)
        for rank, block in enumerate(self._to_blocks):
            index: tuple[Any, ...] = (..., *block)
            contribution = np.ascontiguousarray(own_part[index])
            is_target = communicator.rank == rank
            parts = np.empty((communicator.size, *contribution.shape)) if is_target else None
            communicator.Gather(contribution, parts, root=rank)
            if parts is not None:
                result = parts.sum(axis=0)
        return result
