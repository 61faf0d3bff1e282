"""Groups of ranks that share one piece of work each, and pieces handed out as groups get free."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np

from simsurrogate.errors import UserError

if TYPE_CHECKING:
    from mpi4py import MPI


def split_world(world: MPI.Intracomm, group_size: int) -> MPI.Intracomm:
    """The group of this rank: `group_size` neighbouring ranks.

    Raises:
        UserError: the ranks cannot be dealt into such groups.
    """
    if world.size % group_size:
        legal = ", ".join(str(group_size * count) for count in range(1, world.size // group_size + 2))
        raise UserError(
            f"group_size={group_size}: {world.size} ranks cannot be dealt into groups of {group_size}; "
            f"start {legal} or another multiple of {group_size}"
        )
    return cast("MPI.Intracomm", world.Split(color=world.rank // group_size, key=world.rank))


def dynamic_tasks(count: int, world: MPI.Intracomm, group: MPI.Intracomm) -> Iterator[int]:
    """The numbers below `count` that fall to this group: each goes, in order, to the group that first
    asks for it. All ranks of all groups have to go through it to the end.

    The counter lies on rank 0 of the world and is fetched one-sidedly, so no rank is spent on handing
    out; `progress_mpi` lets rank 0 answer while it works.
    """
    from mpi4py import MPI

    window = MPI.Win.Allocate(8 if world.rank == 0 else 0, 8, comm=world)
    if world.rank == 0:
        window.tomemory()[:] = bytes(8)
    world.Barrier()
    while (number := group.bcast(_next_number(window) if group.rank == 0 else None)) < count:
        yield number
    world.Barrier()
    window.Free()


def progress_mpi(world: MPI.Intracomm) -> None:
    """Lets MPI serve what other ranks ask of this one; to be called now and then during work."""
    if world.size > 1:
        world.Iprobe()


def gather_blocks(
    group: MPI.Intracomm,
    blocks: list[tuple[slice, ...]],
    values: np.ndarray,
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """On the group's rank 0, the block of each rank in turn, as its slices and its `values`
    (C, *block); on the others nothing, but they have to go through it too. A group of one exchanges
    nothing.

    No rank holds more than its own block and one other. `blocks` are the slices of every rank.
    """
    if group.rank != 0:
        group.Send(np.ascontiguousarray(values), dest=0)
        return
    yield blocks[0], values
    for rank, block in enumerate(blocks[1:], start=1):
        received = np.empty((len(values), *(part.stop - part.start for part in block)), values.dtype)
        group.Recv(received, source=rank)
        yield block, received


def _next_number(window: MPI.Win) -> int:
    from mpi4py import MPI

    one, number = np.ones(1, np.int64), np.empty(1, np.int64)
    window.Lock(0, MPI.LOCK_SHARED)
    window.Fetch_and_op(one, number, 0, 0, MPI.SUM)
    window.Unlock(0)
    return int(number[0])
