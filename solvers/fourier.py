"""Real fields on a periodic plane and their dealiased Fourier coefficients, over slabs of ranks.

A field is cut into slabs along x, its coefficients along ky. Of the coefficients only those are kept that a
product of two fields does not alias into (2/3 rule, Orszag 1971): wave numbers of magnitude below n / 3.
The dropped columns are neither transformed along x nor sent.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from solvers.fourier_plans import complex_plan, real_plan, zeros
from solvers.grid import Grid, slab


def kept(count: int) -> int:
    """The largest wave number that is kept on an axis of `count` cells."""
    return (count - 1) // 3


class FourierSlabs:
    """Which coefficients there are, and which of them are this rank's.

    Attributes:
        shape: of this rank's kept coefficients of a field, (2 kept + 1, columns).
        columns: this rank's part of the ky axis.
        wave_numbers: kx (rad/m) in the order 0, 1, ..., -1 and ky from 0 on.
        largest: the largest wave number that is kept along each axis, rad/m.
        squared: kx^2 + ky^2 of the kept coefficients, rad^2/m^2; `even_squared` of those with kx >= 0.
        multiplicity: how many coefficients of the whole plane each column stands for: 1 for ky = 0, else 2.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        kept_x, kept_y = map(kept, grid.resolution)
        ranks = grid.communicator.size
        self.row_slabs = [slab(grid.resolution[0], ranks, rank) for rank in range(ranks)]
        self.column_slabs = [slab(kept_y + 1, ranks, rank) for rank in range(ranks)]
        self.columns = self.column_slabs[grid.communicator.rank]
        self.largest = (
            2 * np.pi * kept_x / grid.extent[0],
            2 * np.pi * kept_y / grid.extent[1],
        )
        numbers = np.r_[0 : kept_x + 1, -kept_x:0], np.r_[self.columns]
        self.shape = (len(numbers[0]), len(numbers[1]))
        self.wave_numbers = tuple(
            2 * np.pi / length * number for number, length in zip(numbers, grid.extent, strict=True)
        )
        self.multiplicity = np.where(numbers[1] == 0, 1.0, 2.0)
        self.squared = self.wave_numbers[0][:, None] ** 2 + self.wave_numbers[1] ** 2
        self.even_squared = self.squared[: kept_x + 1]
        self._kept_x = kept_x

    @property
    def full_shape(self) -> tuple[int, int]:
        """Of this rank's columns with all of their rows."""
        return self.grid.resolution[0], self.shape[1]

    @property
    def half_shape(self) -> tuple[int, int]:
        """Of this rank's rows after the real transform along y."""
        return self.grid.block_shape[0], self.grid.resolution[1] // 2 + 1

    def compact(self, spectral: np.ndarray) -> np.ndarray:
        """The kept rows (fields, *shape) of full columns (fields, *full_shape)."""
        low, high = spectral[:, : self._kept_x + 1], spectral[:, spectral.shape[1] - self._kept_x :]
        return np.concatenate([low, high], axis=1)

    def expand(self, compact: np.ndarray, spectral: np.ndarray) -> None:
        """Puts kept rows into full columns, whose other rows stay as they are."""
        spectral[:, : self._kept_x + 1] = compact[:, : self._kept_x + 1]
        spectral[:, spectral.shape[1] - self._kept_x :] = compact[:, self._kept_x + 1 :]


class InverseTransform:
    """Takes `spectral` (fields, *full_shape), zero in its dropped rows, to `physical` (fields, *block)."""

    def __init__(self, slabs: FourierSlabs, physical: np.ndarray):
        count, size = len(physical), max(slabs.grid.resolution)
        half = zeros((count, *slabs.half_shape), "complex128")
        self.spectral = zeros((count, *slabs.full_shape), "complex128")
        self.physical = physical
        alone = slabs.grid.communicator.size == 1
        columns = half[..., : slabs.shape[1]] if alone else zeros(self.spectral.shape, "complex128")
        self._along_x = complex_plan(self.spectral, columns, 1, False, size)
        self._exchange = None if alone else _Exchange(slabs, columns, half)
        self._along_y = real_plan(half, physical, size)

    def run(self) -> None:
        """Every rank calls together."""
        self._along_x()
        if self._exchange:
            self._exchange.to_rows()
        self._along_y()


class ForwardTransform:
    """Takes `physical` (fields, *block) to `spectral` (fields, *full_shape), its dropped rows undefined."""

    def __init__(self, slabs: FourierSlabs, physical: np.ndarray):
        count, size = len(physical), max(slabs.grid.resolution)
        half = zeros((count, *slabs.half_shape), "complex128")
        self.spectral = zeros((count, *slabs.full_shape), "complex128")
        self.physical = physical
        alone = slabs.grid.communicator.size == 1
        columns = half[..., : slabs.shape[1]] if alone else zeros(self.spectral.shape, "complex128")
        self._along_y = real_plan(physical, half, size)
        self._exchange = None if alone else _Exchange(slabs, columns, half)
        self._along_x = complex_plan(columns, self.spectral, 1, True, size)

    def run(self) -> None:
        """Every rank calls together."""
        self._along_y()
        if self._exchange:
            self._exchange.to_columns()
        self._along_x()


class _Exchange:
    """The transpose between whole columns and whole rows: one `Alltoallw` for all fields."""

    def __init__(self, slabs: FourierSlabs, columns: np.ndarray, half: np.ndarray):
        self._communicator = slabs.grid.communicator
        self._columns = [columns, [_part(columns, 1, rows) for rows in slabs.row_slabs]]
        self._rows = [half, [_part(half, 2, part) for part in slabs.column_slabs]]

    def to_rows(self) -> None:
        self._communicator.Alltoallw(self._columns, self._rows)

    def to_columns(self) -> None:
        self._communicator.Alltoallw(self._rows, self._columns)


def _part(array: np.ndarray, axis: int, part: slice) -> MPI.Datatype:
    """The MPI type of a part of a contiguous array; of nothing where the part is empty."""
    shape, start = list(array.shape), [0] * array.ndim
    shape[axis], start[axis] = part.stop - part.start, part.start
    if 0 in shape:
        return MPI.DOUBLE_COMPLEX.Create_contiguous(0).Commit()
    return MPI.DOUBLE_COMPLEX.Create_subarray(list(array.shape), shape, start).Commit()
