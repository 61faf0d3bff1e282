"""A uniform cell-centred grid, cut into slabs along its first axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from mpi4py import MPI

from simsurrogate.errors import UserError
from simsurrogate.spec import DIRECTIONS, Boundary

#: Cells of padding at either end of the last axis: as many as a cache line holds, so that rows start on one.
MARGIN = 8


def slab(num_rows: int, num_ranks: int, rank: int) -> slice:
    """The rows of one rank: contiguous, in rank order, their counts differing by at most one."""
    return slice(rank * num_rows // num_ranks, (rank + 1) * num_rows // num_ranks)


@dataclass(frozen=True)
class Grid:
    """Cells of equal size on the box from 0 to `extent` (m); a rank holds a slab of rows.

    `resolution` counts the cells along each axis, `boundary` names the kind of each axis's ends:
    `periodic`, `dirichlet` or `neumann`. A padded array has one more cell on either side of each axis.

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
                f"{num_ranks} ranks cannot share a grid of {num_rows} rows along x: a rank needs at least "
                f"one; use 1 to {num_rows} ranks a group, or a finer resolution"
            )

    @property
    def axes(self) -> range:
        """The numbers of the axes."""
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
        """How many cells of each axis this rank has."""
        return tuple(part.stop - part.start for part in self.block)

    def coordinates(self, axis: int) -> np.ndarray:
        """The centres of this rank's cells along one axis, m."""
        part = self.block[axis]
        return (np.arange(part.start, part.stop) + 0.5) * self.spacing[axis]

    @property
    def mesh(self) -> dict[str, np.ndarray]:
        """The centres of this rank's cells by the axes' names, shaped to broadcast against each other, m."""
        return {DIRECTIONS[axis]: self.along(axis, self.coordinates(axis)) for axis in self.axes}

    def along(self, axis: int, values: np.ndarray) -> np.ndarray:
        """Values along one axis, shaped to broadcast over the others."""
        return values.reshape([-1 if other == axis else 1 for other in self.axes])

    def walls(self, axis: int) -> Iterator[tuple[int, tuple[slice, ...]]]:
        """The cells of this rank's block that touch an end of `axis` which is not periodic.

        Yields the end, 0 for the lower and 1 for the upper, and the index of its layer of cells.
        """
        if self.boundary[axis] == "periodic":
            return
        part = self.block[axis]
        for end, layer in enumerate((slice(0, 1), slice(-1, None))):
            if (part.start, part.stop)[end] == (0, self.resolution[axis])[end]:
                yield end, tuple(layer if other == axis else slice(None) for other in self.axes)

    def padded(self, values: np.ndarray | None = None, depth: int = 1) -> np.ndarray:
        """A padded array: zeros around `values`, or zeros alone.

        It has `depth` more rows on either side of the first axis and one more cell on either side of the
        others; on the last of several it has `MARGIN` or more, and starts on a cache line.
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
        """The index of the block in a padded array."""
        starts = [depth] + [1] * (len(self.extent) - 1)
        if len(starts) > 1:
            starts[-1] = MARGIN
        return tuple(
            slice(start, start + count) for start, count in zip(starts, self.block_shape, strict=True)
        )

    @property
    def thinnest_slab(self) -> int:
        """The least number of rows that a rank has."""
        return self.resolution[0] // self.communicator.size

    def exchange(self, padded: np.ndarray, depth: int = 1) -> None:
        """Fills the padding across the first axis from the neighbouring ranks, `depth` rows at either end.

        Beyond an end that is not periodic it stays as it is. No slab is thinner than `depth`.
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
        """Each of the numbers, summed over all ranks."""
        sums = np.array(local, dtype=float)
        self.communicator.Allreduce(MPI.IN_PLACE, sums)
        return sums

    def maximum(self, local: float) -> float:
        """The greatest of all ranks' numbers."""
        return float(self.communicator.allreduce(local, MPI.MAX))
