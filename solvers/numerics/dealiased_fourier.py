"""Fields on a periodic plane and their dealiased Fourier coefficients, over slabs of ranks.

A complex field carries two real ones, a + i b: the transform of both costs one complex transform. It is cut
into slabs along x; its coefficients, along ky. Of these only those are kept that a product of two fields does
not alias into (2/3 rule, Orszag 1971): wave numbers of magnitude below n / 3. The dropped columns are neither
transformed along x nor sent.

The coefficients of a complex field stand in two planes of kx and ky >= 0: c(kx, ky) and c(-kx, -ky). Of a
real field the second is the conjugate of the first, which suffices then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from solvers.numerics.fourier_plans import Plan, plan, zeros
from solvers.numerics.grid import Grid, slab

#: Rows are taken back, worked on and taken forth in blocks of about this size, which stay in a core's cache.
_BLOCK_BYTES = 2**18

#: Cells between rows: a stride that is no power of two, whose columns would share few places in the cache.
_PADDING = 4


def kept(count: int) -> int:
    """The largest wave number that is kept on an axis of `count` cells."""
    return (count - 1) // 3


class FourierSlabs:
    """Which coefficients there are, and which of them are this rank's.

    Attributes:
        shape: of this rank's kept coefficients of a real field, (2 kept + 1, columns).
        columns: this rank's part of the ky axis.
        wave_numbers: kx (rad/m) in the order 0, 1, ..., -1 and ky from 0 on.
        largest: the largest wave number that is kept along each axis, rad/m.
        squared: kx^2 + ky^2 of the kept coefficients, rad^2/m^2; `even_squared` of those with kx >= 0.
        multiplicity: how many coefficients of the whole plane each column stands for: 1 for ky = 0, else 2.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        self.kept = (kept(grid.resolution[0]), kept(grid.resolution[1]))
        ranks = grid.communicator.size
        self.row_slabs = [slab(grid.resolution[0], ranks, rank) for rank in range(ranks)]
        self.column_slabs = [slab(self.kept[1] + 1, ranks, rank) for rank in range(ranks)]
        self.columns = self.column_slabs[grid.communicator.rank]
        numbers = np.r_[0 : self.kept[0] + 1, -self.kept[0] : 0], np.r_[self.columns]
        self.shape = (len(numbers[0]), len(numbers[1]))
        units = [2 * np.pi / length for length in grid.extent]
        self.wave_numbers = (units[0] * numbers[0], units[1] * numbers[1])
        self.largest = (units[0] * self.kept[0], units[1] * self.kept[1])
        self.squared = self.wave_numbers[0][:, None] ** 2 + self.wave_numbers[1] ** 2
        self.even_squared = self.squared[: self.kept[0] + 1]
        self.multiplicity = np.where(numbers[1] == 0, 1.0, 2.0)

    def compact(self, full: np.ndarray) -> np.ndarray:
        """The kept rows (..., *shape) of columns with all rows (..., n, columns)."""
        low, high = full[..., : self.kept[0] + 1, :], full[..., full.shape[-2] - self.kept[0] :, :]
        return np.concatenate([low, high], axis=-2)

    def expand(self, compact: np.ndarray, full: np.ndarray) -> None:
        """Puts kept rows into columns with all rows; the others stay as they are."""
        full[..., : self.kept[0] + 1, :] = compact[..., : self.kept[0] + 1, :]
        full[..., full.shape[-2] - self.kept[0] :, :] = compact[..., self.kept[0] + 1 :, :]


class PlaneTransform:
    """Complex fields between their coefficients and the physical plane; what is transformed is lost.

    Attributes:
        coefficients: of the fields (fields, 2, n, columns); the rows that are not kept mean nothing.
        physical: the fields on this rank's rows (fields, rows, columns).
    """

    def __init__(self, slabs: FourierSlabs, num_fields: int):
        (rows, columns), (_, kept_y) = slabs.grid.block_shape, slabs.kept
        self.coefficients = zeros((num_fields, 2, slabs.grid.resolution[0], slabs.shape[1]))
        self._dropped = self.coefficients[:, :, slabs.kept[0] + 1 : -slabs.kept[0]]
        self.physical, spectra = (zeros((num_fields, rows, columns + _PADDING))[..., :columns] for _ in "ab")
        # The physical plane is reached by forward transforms along y too, which FFTW makes faster: from
        # columns in the opposite order. Between the kept ones `spectra` stays 0.
        (low_in, high_in), (low, high) = (
            (plane[..., : kept_y + 1], plane[..., : -kept_y - 1 : -1]) for plane in (spectra, self.physical)
        )
        if slabs.grid.communicator.size == 1:
            self._along_x_back = [
                plan(self.coefficients[:, 1], low_in, 1, forward=True),
                plan(self.coefficients[:, 0, :, 1:], high_in, 1, forward=False),
            ]
            self._along_x_forth = [
                plan(low, self.coefficients[:, 0], 1, forward=True),
                plan(high, self.coefficients[:, 1, :, 1:], 1, forward=False),
                plan(low[..., :1], self.coefficients[:, 1, :, :1], 1, forward=False),
            ]
        else:
            exchange = _Exchange(slabs, (low_in, high_in), (low, high))
            self._along_x_back = [
                plan(self.coefficients[:, 1], exchange.columns[:, 1], 1, forward=True),
                plan(self.coefficients[:, 0], exchange.columns[:, 0], 1, forward=False),
                exchange.to_rows,
            ]
            self._along_x_forth = [
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
            back = plan(spectra[:, first : first + height], part, 2, forward=True)
            self._along_y.append(_Rows(block, part, back, plan(part, block, 2, forward=True)))

    def inverse(self) -> None:
        """From `coefficients` to `physical`; every rank calls together, as in the other two."""
        self._to_rows()
        for rows in self._along_y:
            rows.back()
            rows.block[:] = rows.work

    def forward(self) -> None:
        """From `physical` to `coefficients`."""
        for rows in self._along_y:
            rows.work[:] = rows.block
            rows.forth()
        for step in self._along_x_forth:
            step()

    def through(self, work: Callable[[np.ndarray], object]) -> None:
        """There, `work` on blocks of rows of `physical` (fields, rows, columns), and back."""
        self._to_rows()
        for rows in self._along_y:
            rows.back()
            work(rows.work)
            rows.forth()
        for step in self._along_x_forth:
            step()

    def _to_rows(self) -> None:
        self._dropped[:] = 0
        for step in self._along_x_back:
            step()


class _Rows(NamedTuple):
    """A block of the physical plane, the array in which it is worked on, the transforms there and back."""

    block: np.ndarray
    work: np.ndarray
    back: Plan
    forth: Plan


class _Exchange:
    """The transpose between whole columns and whole rows: one `Alltoallw` for both planes of all fields."""

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
        self._of_columns = [self.columns, [_part(self.columns, 2, part) for part in slabs.row_slabs]]
        self._of_rows = [self._rows, [_part(self._rows, 3, part) for part in slabs.column_slabs]]

    def to_rows(self) -> None:
        self._communicator.Alltoallw(self._of_columns, self._of_rows)
        self._low_in[:] = self._rows[:, 1]
        self._high_in[:] = self._rows[:, 0, :, 1:]

    def to_columns(self) -> None:
        self._rows[:, 0] = self._low
        self._rows[:, 1, :, 0] = self._low[..., 0]
        self._rows[:, 1, :, 1:] = self._high
        self._communicator.Alltoallw(self._of_rows, self._of_columns)


def _part(array: np.ndarray, axis: int, part: slice) -> MPI.Datatype:
    """The MPI type of a part of a contiguous array; of nothing where the part is empty."""
    shape, start = list(array.shape), [0] * array.ndim
    shape[axis], start[axis] = part.stop - part.start, part.start
    if 0 in shape:
        return MPI.DOUBLE_COMPLEX.Create_contiguous(0).Commit()
    return MPI.DOUBLE_COMPLEX.Create_subarray(list(array.shape), shape, start).Commit()
