"""Dealiased Fourier transforms of fields on a periodic plane, over slabs of ranks.

A complex field a + i b carries two real fields a and b: one complex transform serves both. The ranks divide
the field along x and its coefficients along ky. A product of two fields aliases into wave numbers from n / 3
on, so the transform keeps only those below n / 3 (2/3 rule, Orszag 1971). Dropped columns are neither
transformed along x nor sent.

The coefficients of a complex field are two planes of kx and ky >= 0: c(kx, ky) and c(-kx, -ky). For a real
field the second plane is the conjugate of the first, and the first plane suffices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from solvers.numerics.fourier_plans import Plan, plan, zeros
from solvers.numerics.grid import Grid, slab
from solvers.numerics.transpose import slab_datatype

#: Rows are transformed, processed and transformed back in blocks of about this size, which fit in a cache.
_BLOCK_BYTES = 2**18

#: Extra cells at the end of each row. A row length of a power of two would map a column to few cache sets.
_PADDING = 4


def largest_kept(count: int) -> int:
    """Return the largest wave number that the 2/3 rule keeps on an axis of `count` cells."""
    return (count - 1) // 3


class FourierSlabs:
    """The kept coefficients and their division among the ranks.

    Attributes:
        kept: the largest kept wave number along each axis, in waves per box.
        shape: the shape of this rank's kept coefficients of a real field, (2 kept + 1, columns).
        columns: this rank's part of the ky axis.
        wave_numbers: kx (rad/m) in the order 0, 1, ..., -1, and ky (rad/m) in ascending order from 0.
        largest: the largest kept wave number along each axis, rad/m.
        squared: kx^2 + ky^2 of the kept coefficients, rad^2/m^2.
        even_squared: the rows of `squared` with kx >= 0.
        multiplicity: the number of coefficients of the whole plane for each column: 1 for ky = 0, else 2.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        self.kept = (largest_kept(grid.resolution[0]), largest_kept(grid.resolution[1]))
        ranks = grid.communicator.size
        self.row_slabs = [slab(grid.resolution[0], ranks, rank) for rank in range(ranks)]
        self.column_slabs = [slab(self.kept[1] + 1, ranks, rank) for rank in range(ranks)]
        self.columns = self.column_slabs[grid.communicator.rank]
        wave_counts = np.r_[0 : self.kept[0] + 1, -self.kept[0] : 0], np.r_[self.columns]
        self.shape = (len(wave_counts[0]), len(wave_counts[1]))
        units = [2 * np.pi / length for length in grid.extent]
        self.wave_numbers = (units[0] * wave_counts[0], units[1] * wave_counts[1])
        self.largest = (units[0] * self.kept[0], units[1] * self.kept[1])
        self.squared = self.wave_numbers[0][:, None] ** 2 + self.wave_numbers[1] ** 2
        self.even_squared = self.squared[: self.kept[0] + 1]
        self.multiplicity = np.where(wave_counts[1] == 0, 1.0, 2.0)

    def compact(self, full: np.ndarray) -> np.ndarray:
        """Return the kept rows (..., *shape) of columns with all rows (..., n, columns)."""
        low, high = full[..., : self.kept[0] + 1, :], full[..., full.shape[-2] - self.kept[0] :, :]
        return np.concatenate([low, high], axis=-2)

    def expand(self, compact: np.ndarray, full: np.ndarray) -> None:
        """Write the kept rows into columns with all rows; the other rows are left unchanged."""
        full[..., : self.kept[0] + 1, :] = compact[..., : self.kept[0] + 1, :]
        full[..., full.shape[-2] - self.kept[0] :, :] = compact[..., self.kept[0] + 1 :, :]


class PlaneTransform:
    """The transform of complex fields between their coefficients and the physical plane.

    A transform destroys its input.

    Attributes:
        coefficients: the coefficients of the fields (fields, 2, n, columns); dropped rows are undefined.
        physical: the fields on this rank's rows (fields, rows, columns).
    """

    def __init__(self, slabs: FourierSlabs, num_fields: int):
        (rows, columns), (_, kept_y) = slabs.grid.block_shape, slabs.kept
        self.coefficients = zeros((num_fields, 2, slabs.grid.resolution[0], slabs.shape[1]))
        self._dropped = self.coefficients[:, :, slabs.kept[0] + 1 : -slabs.kept[0]]
        self.physical, spectra = (zeros((num_fields, rows, columns + _PADDING))[..., :columns] for _ in "ab")
        # The inverse transform along y is a forward transform of the columns in opposite order, because
        # FFTW's forward transforms are faster. The dropped columns of `spectra` are always 0.
        (low_in, high_in), (low, high) = (
            (plane[..., : kept_y + 1], plane[..., : -kept_y - 1 : -1]) for plane in (spectra, self.physical)
        )
        if slabs.grid.communicator.size == 1:
            self._inverse_x = [
                plan(self.coefficients[:, 1], low_in, 1, forward=True),
                plan(self.coefficients[:, 0, :, 1:], high_in, 1, forward=False),
            ]
            self._forward_x = [
                plan(low, self.coefficients[:, 0], 1, forward=True),
                plan(high, self.coefficients[:, 1, :, 1:], 1, forward=False),
                plan(low[..., :1], self.coefficients[:, 1, :, :1], 1, forward=False),
            ]
        else:
            exchange = _Exchange(slabs, (low_in, high_in), (low, high))
            self._inverse_x = [
                plan(self.coefficients[:, 1], exchange.columns[:, 1], 1, forward=True),
                plan(self.coefficients[:, 0], exchange.columns[:, 0], 1, forward=False),
                exchange.to_rows,
            ]
            self._forward_x = [
                exchange.to_columns,
                plan(exchange.columns[:, 0], self.coefficients[:, 0], 1, forward=True),
                plan(exchange.columns[:, 1], self.coefficients[:, 1], 1, forward=False),
            ]
        height = min(max(_BLOCK_BYTES // (16 * columns * num_fields), 1), rows)
        work = zeros((num_fields, height, columns + _PADDING))[..., :columns]
        self._along_y = []
        for first in range(0, rows, height):
            block = self.physical[:, first : first + height]
            part = work[:, : block.shape[1]]
            inverse = plan(spectra[:, first : first + height], part, 2, forward=True)
            self._along_y.append(_Rows(block, part, inverse, plan(part, block, 2, forward=True)))

    def inverse(self) -> None:
        """Transform `coefficients` to `physical`. All ranks call each method together."""
        self._to_rows()
        for rows in self._along_y:
            rows.inverse()
            rows.block[:] = rows.work

    def forward(self) -> None:
        """Transform `physical` to `coefficients`."""
        for rows in self._along_y:
            rows.work[:] = rows.block
            rows.forward()
        for step in self._forward_x:
            step()

    def through(self, work: Callable[[np.ndarray], object]) -> None:
        """Transform to the physical plane, call `work` on blocks (fields, rows, columns), transform back."""
        self._to_rows()
        for rows in self._along_y:
            rows.inverse()
            work(rows.work)
            rows.forward()
        for step in self._forward_x:
            step()

    def _to_rows(self) -> None:
        self._dropped[:] = 0
        for step in self._inverse_x:
            step()


class _Rows(NamedTuple):
    """A block of the physical plane, the array to process it in, and the two transforms along y."""

    block: np.ndarray
    work: np.ndarray
    inverse: Plan
    forward: Plan


class _Exchange:
    """The transpose between columns and rows: one `Alltoallw` for both planes of all fields."""

    def __init__(
        self,
        slabs: FourierSlabs,
        to_rows: tuple[np.ndarray, np.ndarray],
        from_rows: tuple[np.ndarray, np.ndarray],
    ):
        self._communicator = slabs.grid.communicator
        self._low_in, self._high_in = to_rows
        self._low, self._high = from_rows
        num_fields, num_rows, num_columns = self._low.shape
        self.columns = zeros((num_fields, 2, slabs.grid.resolution[0], slabs.shape[1]))
        self._rows = zeros((num_fields, 2, num_rows, num_columns))
        self._of_columns = [self.columns, [slab_datatype(self.columns, 2, part) for part in slabs.row_slabs]]
        self._of_rows = [self._rows, [slab_datatype(self._rows, 3, part) for part in slabs.column_slabs]]

    def to_rows(self) -> None:
        self._communicator.Alltoallw(self._of_columns, self._of_rows)
        self._low_in[:] = self._rows[:, 1]
        self._high_in[:] = self._rows[:, 0, :, 1:]

    def to_columns(self) -> None:
        self._rows[:, 0] = self._low
        self._rows[:, 1, :, 0] = self._low[..., 0]
        self._rows[:, 1, :, 1:] = self._high
        self._communicator.Alltoallw(self._of_rows, self._of_columns)
