"""The ranks of a training run: a process group over gloo or NCCL, under any launcher."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import torch
import torch.distributed as dist

# The functions of this module take the group of all ranks as a default argument. A later import, as in DDP,
# would keep that group alive, and the threads of the group would still run at the end of the interpreter.
import torch.distributed.nn.functional
from torch.distributed import Store  # type: ignore[attr-defined]

from pipeline.parallel import devices, launch
from pipeline.parallel.rendezvous import TIMEOUT, connect, join_group
from pipeline.parallel.threads import set_threads, usable_cores

if TYPE_CHECKING:
    from mpi4py import MPI

#: Launchers that start ranks without MPI.
_LAUNCHERS_WITHOUT_MPI = ("torchrun", "srun")

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Ranks:
    """The position of this process among the ranks that train together.

    Attributes:
        rank: number of this process, from 0.
        size: number of ranks.
        device: device of this rank.
        nodes: number of ranks on each node.
        group: process group of these ranks; None for the group of all ranks.
        communicator: MPI communicator of these ranks, if they run under mpirun and train on processors.
    """

    rank: int
    size: int
    device: torch.device
    nodes: dict[str, int]
    group: dist.ProcessGroup | None = None
    communicator: MPI.Intracomm | None = None

    @property
    def is_first(self) -> bool:
        """Whether this rank writes the files."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over the ranks, equal on all ranks."""
        if self.size > 1:
            values = values.to(self.device, copy=True)
            dist.all_reduce(values, group=self.group)
        return values

    def gather(self, value: float) -> list[float]:
        """Return the value of each rank, on all ranks."""
        values = torch.zeros(self.size, dtype=torch.float64)
        values[self.rank] = value
        gathered_values: list[float] = self.sum(values).tolist()
        return gathered_values

    def gather_texts(self, text: str) -> list[str]:
        """Return the text of each rank, on all ranks."""
        texts = [text] * self.size
        if self.size > 1:
            dist.all_gather_object(texts, text, group=self.group)
        return texts

    def any_async(self, value: bool) -> Callable[[], bool]:
        """Start a reduction of `value` over the ranks; return a function that waits for the result.

        The function returns, on all ranks, whether `value` is true on any rank. The ranks may work between
        the two calls.
        """
        if self.size == 1:
            return lambda: value
        flag = torch.tensor([int(value)])
        work = dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self.group, async_op=True)

        def wait() -> bool:
            work.wait()
            return bool(flag.item())

        return wait

    def broadcast(self, value: _Value) -> _Value:
        """Wait for the value of rank 0 and return it on every rank. The value must be plain data."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, group_src=0, group=self.group, device=self.device)
        return values[0]


def group_of(ranks: Ranks, num_groups: int) -> Ranks:
    """Return this rank's position in one of `num_groups` groups of neighbours, on all ranks together."""
    size = ranks.size // num_groups
    if num_groups == 1:
        return ranks
    groups: list[dist.ProcessGroup | None] = [None] * num_groups
    if size > 1:
        starts = range(0, ranks.size, size)
        groups = [dist.new_group([*range(start, start + size)], timeout=TIMEOUT) for start in starts]
    index, rank = divmod(ranks.rank, size)
    own_ranks = replace(ranks, rank=rank, size=size, group=groups[index])
    if ranks.communicator is None:
        return own_ranks
    return replace(own_ranks, communicator=cast("MPI.Intracomm", ranks.communicator.Split(index, rank)))


def shared_store(ranks: Ranks) -> Store:
    """Return a key-value store on rank 0 that every rank can use without waiting for other ranks."""
    process = launch.detect()
    host = ranks.broadcast("127.0.0.1" if len(ranks.nodes) == 1 else socket.gethostname())
    store = connect(process, host, 0) if ranks.is_first else None
    port = ranks.broadcast(store.port if store is not None else 0)
    return store if store is not None else connect(process, host, port)


@contextmanager
def init_ranks(device_name: str, folder: Path) -> Iterator[Ranks]:
    """Form the process group of this run on `cpu`, `cuda` or `auto`. A single rank needs no group.

    Under srun the ranks find each other by a file in `folder`, which must be visible on all nodes. The
    threads of each rank are set to its share of the cores, unless OMP_NUM_THREADS is set.

    Raises:
        UserError: there are too few devices, or the ranks do not find each other.
    """
    process = launch.detect()
    device = devices.device_of(device_name, process)
    devices.use_deterministic_algorithms(device)
    if process.size == 1:
        set_threads([(socket.gethostname(), usable_cores())])
        yield Ranks(0, 1, device, {launch.node_name(): 1})
        return
    join_group(process, device, folder)
    own_description = (socket.gethostname(), usable_cores(), devices.device_uuid(device), launch.node_name())
    descriptions = [own_description] * process.size
    dist.all_gather_object(descriptions, own_description)
    set_threads([(host, cores) for host, cores, *_ in descriptions])
    device_names = [(host, name) for host, _, name, _ in descriptions]
    if not devices.can_use_cuda(device_name, device_names):
        if process.rank == 0 and any(name is not None for _, name in device_names):
            print(
                f"training on processors: {devices.device_counts(device_names)}; start one rank for each "
                "device to train on the devices"
            )
        device = torch.device("cpu")
    nodes = launch.ranks_on_nodes([node for *_, node in descriptions])
    has_mpi = device.type == "cpu" and process.launcher not in _LAUNCHERS_WITHOUT_MPI
    communicator = launch.world() if has_mpi else None
    yield Ranks(process.rank, process.size, device, nodes, communicator=communicator)
    # Not in a `finally`: after an error the other ranks may never arrive, and the process ends anyway.
    dist.destroy_process_group()
