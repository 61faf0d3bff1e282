"""Dealiased Fourier transforms of fields on a periodic plane, distributed over ranks in slabs.

One complex transform of a + i b serves two real fields a and b. The ranks divide the field along x and the
coefficients along ky. A product of two fields on n cells aliases into wave numbers from n / 3 on. The
transform therefore keeps only wave numbers below n / 3 (2/3 rule, Orszag 1971). Dropped columns are neither
transformed along x nor sent.

The coefficients of a complex field are two planes with ky >= 0: c(kx, ky) and c(-kx, -ky). For a real field
the second plane is the complex conjugate of the first plane.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from solvers.numerics.fourier_plans import Plan, plan, zeros
from solvers.numerics.grid import Grid, slab
from solvers.numerics.transpose import slab_datatype

#: The size (bytes) of the blocks of rows that are transformed, processed and transformed back in a cache.
_BLOCK_BYTES = 2**18

#: The number of padding cells at the end of each row. Row lengths of powers of two would map a column to few
#: cache sets.
_PADDING = 4


def largest_kept_wave_number(count: int) -> int:
    """Return the largest wave number that the 2/3 rule keeps on an axis of `count` cells."""
    return (count - 1) // 3


class FourierSlabs:
    """The kept coefficients, and the division of the coefficients among the ranks.

    Attributes:
        kept: the largest kept wave number along each axis, in waves per box.
        shape: the shape of this rank's coefficients of a real field, (2 kept + 1, columns).
        columns: the slice of this rank's coefficients along ky.
        wave_numbers: kx (rad/m) in the order 0, 1, ..., -1, and ky (rad/m) in ascending order.
        largest_wave_numbers: the largest kept wave number along each axis, rad/m.
        multiplicity: the number of full-plane coefficients for each stored coefficient, by column: 1 for ky =
            0, otherwise 2.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        self.kept = (
            largest_kept_wave_number(grid.resolution[0]),
            largest_kept_wave_number(grid.resolution[1]),
        )
        ranks = grid.communicator.size
        self.row_slabs = [slab(grid.resolution[0], ranks, rank) for rank in range(ranks)]
        self.column_slabs = [slab(self.kept[1] + 1, ranks, rank) for rank in range(ranks)]
        self.columns = self.column_slabs[grid.communicator.rank]
        wave_counts = np.r_[0 : self.kept[0] + 1, -self.kept[0] : 0], np.r_[self.columns]
        self.shape = (len(wave_counts[0]), len(wave_counts[1]))
        units = [2 * np.pi / length for length in grid.extent]
        self.wave_numbers = (units[0] * wave_counts[0], units[1] * wave_counts[1])
        self.largest_wave_numbers = (units[0] * self.kept[0], units[1] * self.kept[1])
        self.multiplicity = np.where(wave_counts[1] == 0, 1.0, 2.0)

    @cached_property
    def squared_wave_numbers(self) -> np.ndarray:
        """The squared wave numbers kx^2 + ky^2 of the kept coefficients, rad^2/m^2."""
        squared: np.ndarray = self.wave_numbers[0][:, None] ** 2 + self.wave_numbers[1] ** 2
        return squared

    @property
    def even_squared_wave_numbers(self) -> np.ndarray:
        """The rows of `squared_wave_numbers` with kx >= 0."""
        return self.squared_wave_numbers[: self.kept[0] + 1]

    def compact(self, full_rows: np.ndarray) -> np.ndarray:
        """Return the kept rows (..., *shape) of full columns (..., n, columns)."""
        low, high = (
            full_rows[..., : self.kept[0] + 1, :],
            full_rows[..., full_rows.shape[-2] - self.kept[0] :, :],
        )
        return np.concatenate([low, high], axis=-2)

    def expand(self, kept_rows: np.ndarray, full_rows: np.ndarray) -> None:
        """Write the kept rows into full columns, and leave the other rows unchanged."""
        full_rows[..., : self.kept[0] + 1, :] = kept_rows[..., : self.kept[0] + 1, :]
        full_rows[..., full_rows.shape[-2] - self.kept[0] :, :] = kept_rows[..., self.kept[0] + 1 :, :]


class PlaneTransform:
    """The transform of complex fields between coefficients and the physical plane.

    A transform overwrites its input. All ranks call each method together.

    Attributes:
        coefficients: the coefficients of the fields (fields, 2, n, columns); dropped rows are undefined.
        physical: the fields on this rank's rows (fields, rows, columns).
    """

    def __init__(self, slabs: FourierSlabs, num_fields: int):
        (rows, columns), (_, kept_y) = slabs.grid.block_shape, slabs.kept
        self.coefficients = zeros((num_fields, 2, slabs.grid.resolution[0], slabs.shape[1]))
        self._dropped_rows = self.coefficients[:, :, slabs.kept[0] + 1 : -slabs.kept[0]]
        self.physical, spectra = (zeros((num_fields, rows, columns + _PADDING))[..., :columns] for _ in "ab")
        # Forward transforms of FFTW are faster than inverse transforms. The inverse transform along y is
        # therefore a forward transform of the columns in reverse order. Dropped columns of `spectra` stay 0.
        (low_spectra, high_spectra), (low_plane, high_plane) = (
            (plane[..., : kept_y + 1], plane[..., : -kept_y - 1 : -1]) for plane in (spectra, self.physical)
        )
        if slabs.grid.communicator.size == 1:
            self._inverse_x = [
                plan(self.coefficients[:, 1], low_spectra, 1, forward=True),
                plan(self.coefficients[:, 0, :, 1:], high_spectra, 1, forward=False),
            ]
            self._forward_x = [
                plan(low_plane, self.coefficients[:, 0], 1, forward=True),
                plan(high_plane, self.coefficients[:, 1, :, 1:], 1, forward=False),
                plan(low_plane[..., :1], self.coefficients[:, 1, :, :1], 1, forward=False),
            ]
        else:
            transpose = _Transpose(slabs, (low_spectra, high_spectra), (low_plane, high_plane))
            self._inverse_x = [
                plan(self.coefficients[:, 1], transpose.columns[:, 1], 1, forward=True),
                plan(self.coefficients[:, 0], transpose.columns[:, 0], 1, forward=False),
                transpose.to_rows,
            ]
            self._forward_x = [
                transpose.to_columns,
                plan(transpose.columns[:, 0], self.coefficients[:, 0], 1, forward=True),
                plan(transpose.columns[:, 1], self.coefficients[:, 1], 1, forward=False),
            ]
        height = min(max(_BLOCK_BYTES // (16 * columns * num_fields), 1), rows)
        work = zeros((num_fields, height, columns + _PADDING))[..., :columns]
        self._row_blocks = []
        for first in range(0, rows, height):
            block = self.physical[:, first : first + height]
            work_block = work[:, : block.shape[1]]
            inverse = plan(spectra[:, first : first + height], work_block, 2, forward=True)
            self._row_blocks.append(
                _RowBlock(block, work_block, inverse, plan(work_block, block, 2, forward=True))
            )

    def inverse(self) -> None:
        """Transform `coefficients` to `physical`."""
        self._transform_to_rows()
        for row_block in self._row_blocks:
            row_block.inverse()
            row_block.block[:] = row_block.work

    def forward(self) -> None:
        """Transform `physical` to `coefficients`."""
        for row_block in self._row_blocks:
            row_block.work[:] = row_block.block
            row_block.forward()
        for transform in self._forward_x:
            transform()

    def apply_in_physical_space(self, operation: Callable[[np.ndarray], object]) -> None:
        """Transform to the physical plane, call `operation` on all blocks, and transform back.

        A block has the shape (fields, rows, columns).
        """
        self._transform_to_rows()
        for row_block in self._row_blocks:
            row_block.inverse()
            operation(row_block.work)
            row_block.forward()
        for transform in self._forward_x:
            transform()

    def _transform_to_rows(self) -> None:
        self._dropped_rows[:] = 0
        for transform in self._inverse_x:
            transform()


class _RowBlock(NamedTuple):
    """A block of rows of the physical plane, a work array, and the transforms along y."""

    block: np.ndarray
    work: np.ndarray
    inverse: Plan
    forward: Plan


class _Transpose:
    """The transpose between columns and rows by one `Alltoallw` for both planes of all fields."""

    def __init__(
        self,
        slabs: FourierSlabs,
        to_rows: tuple[np.ndarray, np.ndarray],
        from_rows: tuple[np.ndarray, np.ndarray],
    ):
        self._communicator = slabs.grid.communicator
        self._low_spectra, self._high_spectra = to_rows
        self._low_plane, self._high_plane = from_rows
        num_fields, num_rows, num_columns = self._low_plane.shape
        self.columns = zeros((num_fields, 2, slabs.grid.resolution[0], slabs.shape[1]))
        self._rows = zeros((num_fields, 2, num_rows, num_columns))
        self._column_message = [
            self.columns,
            [slab_datatype(self.columns, 2, rank_slice) for rank_slice in slabs.row_slabs],
        ]
        self._row_message = [
            self._rows,
            [slab_datatype(self._rows, 3, rank_slice) for rank_slice in slabs.column_slabs],
        ]

    def to_rows(self) -> None:
        self._communicator.Alltoallw(self._column_message, self._row_message)
        self._low_spectra[:] = self._rows[:, 1]
        self._high_spectra[:] = self._rows[:, 0, :, 1:]

    def to_columns(self) -> None:
        self._rows[:, 0] = self._low_plane
        self._rows[:, 1, :, 0] = self._low_plane[..., 0]
        self._rows[:, 1, :, 1:] = self._high_plane
        self._communicator.Alltoallw(self._row_message, self._column_message)
