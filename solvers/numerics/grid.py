"""Uniform cell-centred grids, divided among the ranks into slabs along the first axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from mpi4py import MPI

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS, Axis, Boundary

#: The number of padding cells at each end of the last axis, equal to the number of cells in a cache line.
#: Rows therefore start on a cache line.
MARGIN = 8

#: The largest number of cells along an axis. Solvers hold arrays of this size before the memory of a whole
#: grid is compared with the free memory.
MAX_CELLS_OF_AXIS = 2**20


def slab(num_rows: int, num_ranks: int, rank: int) -> slice:
    """Return the contiguous rows of one rank; the numbers of rows differ by at most one between ranks."""
    return slice(rank * num_rows // num_ranks, (rank + 1) * num_rows // num_ranks)


@dataclass(frozen=True)
class Grid:
    """A grid of equal cells in the box from 0 to `extent`, with a slab of rows on each rank.

    A padded array has ghost cells at both ends of each axis, see `padded_array`.

    Attributes:
        communicator: the ranks that share the grid.
        extent: the length of each axis, m.
        resolution: the number of cells along each axis.
        boundary: the boundary condition of each axis: `periodic`, `dirichlet` or `neumann`.
        is_checked: whether a grid that does not resolve the drawn fields is refused.

    Raises:
        UserError: there are more ranks than rows.
    """

    communicator: MPI.Intracomm
    extent: tuple[float, ...]
    resolution: tuple[int, ...]
    boundary: tuple[Boundary, ...]
    is_checked: bool = True

    def __post_init__(self) -> None:
        num_rows, num_ranks = self.resolution[0], self.communicator.size
        if num_ranks > num_rows:
            raise UserError(
                f"{num_ranks} ranks cannot share a grid of {num_rows} rows along x. Each rank needs at least "
                f"one row. Type group_size={num_rows} or less, or a finer solver.resolution"
            )

    @property
    def axes(self) -> range:
        """The indices of the axes."""
        return range(len(self.extent))

    @property
    def spacing(self) -> tuple[float, ...]:
        """The width of a cell along each axis, m."""
        return tuple(length / count for length, count in zip(self.extent, self.resolution, strict=True))

    @property
    def longest_wave(self) -> float:
        """The longest wave of the box (m): the length of a periodic axis, or twice that between two walls."""
        return max(
            length if condition == "periodic" else 2 * length
            for length, condition in zip(self.extent, self.boundary, strict=True)
        )

    @property
    def cell_volume(self) -> float:
        """The volume of a cell, m^d."""
        return prod(self.spacing)

    @property
    def block(self) -> tuple[slice, ...]:
        """The slice of this rank's cells along each axis."""
        rows = slab(self.resolution[0], self.communicator.size, self.communicator.rank)
        return (rows, *(slice(0, count) for count in self.resolution[1:]))

    @property
    def block_shape(self) -> tuple[int, ...]:
        """The number of this rank's cells along each axis."""
        return tuple(axis_slice.stop - axis_slice.start for axis_slice in self.block)

    def coordinates(self, axis: int) -> np.ndarray:
        """Return the centres of this rank's cells along one axis, m."""
        name, size, length = DIRECTIONS[axis], self.resolution[axis], self.extent[axis]
        return Axis(name, "m", size, 0.0, length, self.boundary[axis]).centres[self.block[axis]]

    @property
    def mesh(self) -> dict[str, np.ndarray]:
        """The centres (m) of this rank's cells by axis name, in shapes that broadcast against each other."""
        return {DIRECTIONS[axis]: self.broadcast_along(axis, self.coordinates(axis)) for axis in self.axes}

    def broadcast_along(self, axis: int, values: np.ndarray) -> np.ndarray:
        """Return values along one axis in a shape that broadcasts over the other axes."""
        return values.reshape([-1 if other_axis == axis else 1 for other_axis in self.axes])

    def walls(self, axis: int) -> Iterator[tuple[int, tuple[slice, ...]]]:
        """Yield the walls of `axis` at this rank's block; a periodic axis has no walls.

        Each wall is a pair: the end of the axis (0: lower, 1: upper), and the index of the adjacent layer of
        cells.
        """
        if self.boundary[axis] == "periodic":
            return
        axis_slice = self.block[axis]
        for end, layer in enumerate((slice(0, 1), slice(-1, None))):
            if (axis_slice.start, axis_slice.stop)[end] == (0, self.resolution[axis])[end]:
                yield end, tuple(layer if other_axis == axis else slice(None) for other_axis in self.axes)

    def padded_array(self, values: np.ndarray | None = None, depth: int = 1) -> np.ndarray:
        """Return a padded array with zeros in the padding, and `values` or zeros in the block.

        The padding is `depth` rows at both ends of the first axis, and one cell at both ends of the other
        axes. The padding of the last of several axes is at least `MARGIN` cells, and its rows start on a
        cache line.
        """
        shape = [count + 2 for count in self.block_shape]
        shape[0] += 2 * (depth - 1)
        if len(shape) > 1:
            shape[-1] = 2 * MARGIN + -(-self.block_shape[-1] // MARGIN) * MARGIN
        memory = np.zeros(prod(shape) + MARGIN)
        start = -(memory.ctypes.data // memory.itemsize) % MARGIN
        array = memory[start : start + prod(shape)].reshape(shape)
        if values is not None:
            array[self.interior(depth)] = values
        return array

    def interior(self, depth: int = 1) -> tuple[slice, ...]:
        """Return the index of the block in a padded array."""
        starts = [depth] + [1] * (len(self.extent) - 1)
        if len(starts) > 1:
            starts[-1] = MARGIN
        return tuple(
            slice(start, start + count) for start, count in zip(starts, self.block_shape, strict=True)
        )

    @property
    def thinnest_slab(self) -> int:
        """The smallest number of rows on a rank."""
        return self.resolution[0] // self.communicator.size

    def exchange(self, padded_array: np.ndarray, depth: int = 1) -> None:
        """Fill the padding of the first axis, `depth` rows at both ends, from the neighbouring ranks.

        The padding beyond a wall stays unchanged. Each slab has at least `depth` rows.
        """
        rank, size = self.communicator.rank, self.communicator.size
        is_periodic = self.boundary[0] == "periodic"
        assert depth <= self.thinnest_slab
        first_rows, last_rows = padded_array[depth : 2 * depth], padded_array[-2 * depth : -depth]
        if size == 1:
            if is_periodic:
                padded_array[:depth], padded_array[-depth:] = last_rows, first_rows
            return
        rank_below = rank - 1 if rank > 0 else size - 1 if is_periodic else MPI.PROC_NULL
        rank_above = rank + 1 if rank < size - 1 else 0 if is_periodic else MPI.PROC_NULL
        self.communicator.Sendrecv(
            first_rows, dest=rank_below, recvbuf=padded_array[-depth:], source=rank_above
        )
        self.communicator.Sendrecv(
            last_rows, dest=rank_above, recvbuf=padded_array[:depth], source=rank_below
        )

    def sum_over_ranks(self, *local_values: float) -> np.ndarray:
        """Return the sum over all ranks of each number."""
        sums = np.array(local_values, dtype=float)
        self.communicator.Allreduce(MPI.IN_PLACE, sums)
        return sums

    def max_over_ranks(self, local_value: float) -> float:
        """Return the maximum of a number over all ranks."""
        return float(self.communicator.allreduce(local_value, MPI.MAX))
