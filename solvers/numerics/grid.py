"""Uniform cell-centred grids, divided among ranks into slabs along the first axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from mpi4py import MPI

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS, Axis, Boundary

#: Cells of padding at either end of the last axis. A cache line holds as many, so rows start on a cache line.
MARGIN = 8


def slab(num_rows: int, num_ranks: int, rank: int) -> slice:
    """Return the rows of one rank: contiguous, in rank order, with counts that differ by at most one."""
    return slice(rank * num_rows // num_ranks, (rank + 1) * num_rows // num_ranks)


@dataclass(frozen=True)
class Grid:
    """Cells of equal size in the box from 0 to `extent`; each rank holds a slab of rows.

    A padded array has ghost cells at both ends of each axis, see `padded`.

    Attributes:
        communicator: the ranks that share the grid.
        extent: the length of each axis, m.
        resolution: the number of cells along each axis.
        boundary: the boundary condition of each axis: `periodic`, `dirichlet` or `neumann`.

    Raises:
        UserError: there are more ranks than rows.
    """

    communicator: MPI.Intracomm
    extent: tuple[float, ...]
    resolution: tuple[int, ...]
    boundary: tuple[Boundary, ...]

    def __post_init__(self) -> None:
        num_rows, num_ranks = self.resolution[0], self.communicator.size
        if num_ranks > num_rows:
            raise UserError(
                f"{num_ranks} ranks cannot share a grid of {num_rows} rows along x. Each rank needs at least "
                f"one row. Choose group_size={num_rows} or less, or a finer solver.resolution"
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
    def cell_volume(self) -> float:
        """The volume of a cell, m^d."""
        return prod(self.spacing)

    @property
    def block(self) -> tuple[slice, ...]:
        """The cells of this rank."""
        rows = slab(self.resolution[0], self.communicator.size, self.communicator.rank)
        return (rows, *(slice(0, count) for count in self.resolution[1:]))

    @property
    def block_shape(self) -> tuple[int, ...]:
        """The number of this rank's cells along each axis."""
        return tuple(part.stop - part.start for part in self.block)

    def coordinates(self, axis: int) -> np.ndarray:
        """Return the centres of this rank's cells along one axis, m."""
        name, size, length = DIRECTIONS[axis], self.resolution[axis], self.extent[axis]
        return Axis(name, "m", size, 0.0, length, self.boundary[axis]).centres[self.block[axis]]

    @property
    def mesh(self) -> dict[str, np.ndarray]:
        """The centres (m) of this rank's cells by the axes' names, shaped to broadcast against each other."""
        return {DIRECTIONS[axis]: self.along(axis, self.coordinates(axis)) for axis in self.axes}

    def along(self, axis: int, values: np.ndarray) -> np.ndarray:
        """Return values along one axis, shaped to broadcast over the other axes."""
        return values.reshape([-1 if other == axis else 1 for other in self.axes])

    def walls(self, axis: int) -> Iterator[tuple[int, tuple[slice, ...]]]:
        """Yield the walls of `axis` that this rank's block touches; a periodic axis has none.

        A wall is its end, 0 for the lower and 1 for the upper, and the index of the layer of cells at it.
        """
        if self.boundary[axis] == "periodic":
            return
        part = self.block[axis]
        for end, layer in enumerate((slice(0, 1), slice(-1, None))):
            if (part.start, part.stop)[end] == (0, self.resolution[axis])[end]:
                yield end, tuple(layer if other == axis else slice(None) for other in self.axes)

    def padded(self, values: np.ndarray | None = None, depth: int = 1) -> np.ndarray:
        """Return a padded array: `values` with zeros around them, or only zeros.

        The padding is `depth` rows at both ends of the first axis and one cell at both ends of the other
        axes. The last of several axes has `MARGIN` or more cells, and its rows start on a cache line.
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
        """The smallest number of rows of a rank."""
        return self.resolution[0] // self.communicator.size

    def exchange(self, padded: np.ndarray, depth: int = 1) -> None:
        """Fill the padding of the first axis, `depth` rows at both ends, from the neighbouring ranks.

        The padding beyond a wall is left unchanged. No slab is thinner than `depth`.
        """
        rank, size = self.communicator.rank, self.communicator.size
        periodic = self.boundary[0] == "periodic"
        assert depth <= self.thinnest_slab
        first, last = padded[depth : 2 * depth], padded[-2 * depth : -depth]
        if size == 1:
            if periodic:
                padded[:depth], padded[-depth:] = last, first
            return
        below = rank - 1 if rank > 0 else size - 1 if periodic else MPI.PROC_NULL
        above = rank + 1 if rank < size - 1 else 0 if periodic else MPI.PROC_NULL
        self.communicator.Sendrecv(first, dest=below, recvbuf=padded[-depth:], source=above)
        self.communicator.Sendrecv(last, dest=above, recvbuf=padded[:depth], source=below)

    def total(self, *local: float) -> np.ndarray:
        """Return each of the numbers, summed over all ranks."""
        sums = np.array(local, dtype=float)
        self.communicator.Allreduce(MPI.IN_PLACE, sums)
        return sums

    def maximum(self, local: float) -> float:
        """Return the greatest number of all ranks."""
        return float(self.communicator.allreduce(local, MPI.MAX))
