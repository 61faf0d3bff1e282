"""Groups of ranks that work on one task together, and the dynamic assignment of tasks to groups."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from simsurrogate.errors import UserError

if TYPE_CHECKING:
    from mpi4py import MPI


def split_world(world: MPI.Intracomm, group_size: int) -> MPI.Intracomm:
    """Return the communicator of this rank's group: `group_size` neighbouring ranks.

    Raises:
        UserError: the number of ranks is not a multiple of `group_size`.
    """
    if world.size % group_size:
        legal_sizes = ", ".join(str(group_size * count) for count in range(1, world.size // group_size + 2))
        raise UserError(
            f"group_size={group_size}: {world.size} ranks cannot be divided into groups of {group_size}. The "
            f"number of ranks must be a multiple of {group_size}. Start {legal_sizes} ranks, or "
            "change group_size"
        )
    return cast("MPI.Intracomm", world.Split(color=world.rank // group_size, key=world.rank))


def dynamic_tasks(count: int, world: MPI.Intracomm, group: MPI.Intracomm) -> Iterator[int]:
    """Yield the tasks of this group, numbers below `count`. Each free group takes the next number.

    All ranks of all groups must iterate to the end. The counter lies on rank 0 of the world and is fetched by
    one-sided communication, so no rank is reserved for the counter. Rank 0 calls `progress_mpi` during its
    own work to answer the other ranks.
    """
    from mpi4py import MPI

    window = MPI.Win.Allocate(8 if world.rank == 0 else 0, 8, comm=world)
    if world.rank == 0:
        window.tomemory()[:] = bytes(8)
    world.Barrier()
    while (task := group.bcast(_fetch_next_task(window) if group.rank == 0 else None)) < count:
        yield task
    wait_for_ranks(world)
    window.Free()


def wait_for_ranks(world: MPI.Intracomm) -> None:
    """Wait until all ranks call this function. The rank sleeps between polls, unlike in `Barrier`."""
    request, seconds = world.Ibarrier(), 1e-4
    while not request.Test():
        time.sleep(seconds)
        seconds = min(2 * seconds, 0.02)


def progress_mpi(world: MPI.Intracomm) -> None:
    """Let MPI answer requests of other ranks. Rank 0 has to call this function repeatedly during its work."""
    if world.size > 1:
        world.Iprobe()


def gather_blocks(
    group: MPI.Intracomm,
    blocks: list[tuple[slice, ...]],
    values: np.ndarray,
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Yield the block of each rank on rank 0 of the group: its slices and its values (C, *block).

    The other ranks must iterate too, and yield nothing. No rank holds more than its own and one other block.

    Args:
        group: communicator of the group.
        blocks: slices of every rank.
        values: block of this rank, shape (C, *block).
    """
    if group.rank != 0:
        group.Send(np.ascontiguousarray(values), dest=0, tag=0)
        return
    yield blocks[0], values
    for rank, block in enumerate(blocks[1:], start=1):
        block_values = np.empty(
            (len(values), *(axis_slice.stop - axis_slice.start for axis_slice in block)), values.dtype
        )
        group.Recv(block_values, source=rank, tag=0)
        yield block, block_values


def _fetch_next_task(window: MPI.Win) -> int:
    """Increase the counter of the window by one, atomically, and return its previous value."""
    from mpi4py import MPI

    increment, previous_value = np.ones(1, np.int64), np.empty(1, np.int64)
    window.Lock(0, MPI.LOCK_SHARED)
    window.Fetch_and_op(increment, previous_value, 0, 0, MPI.SUM)
    window.Unlock(0)
    return int(previous_value[0])


def sum_over_groups(counts: Mapping[str, int], group: MPI.Intracomm, world: MPI.Intracomm) -> dict[str, int]:
    """Return the sum of the groups' counts on rank 0 of the world; rank 0 of a group sends its counts."""
    counts_by_rank = world.gather(dict(counts) if group.rank == 0 else {}) or []
    names = {name: None for group_counts in counts_by_rank for name in group_counts}
    return {name: sum(group_counts.get(name, 0) for group_counts in counts_by_rank) for name in names}
