"""The ranks of a training run: joined by gloo or NCCL, whatever launcher started them."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist

# Its functions take the group of all ranks as a default argument. Imported later, as DDP does, they would
# keep that group alive, and its threads would run into the end of the interpreter.
import torch.distributed.nn.functional
from threadpoolctl import threadpool_limits
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from pipeline.parallel import launch
from pipeline.parallel.launch import Launch
from simsurrogate.errors import UserError
from simsurrogate.files import write_whole

if TYPE_CHECKING:
    from mpi4py import MPI

#: How long a rank waits for the others before it gives up.
TIMEOUT = timedelta(minutes=10)
_RENDEZVOUS_TIMEOUT = timedelta(minutes=2)
#: Launchers whose ranks need no MPI.
_WITHOUT_MPI = ("torchrun", "srun")


@dataclass(frozen=True)
class Ranks:
    """The place of one rank among those that train together, the device it computes on, and how many
    ranks each node has. `group` is theirs where others train something else; None is the group of all.
    `communicator` is theirs too, where MPI started them on processors.
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
        """The sum over the ranks, equal on all of them."""
        if self.size > 1:
            values = values.to(self.device, copy=True)
            dist.all_reduce(values, group=self.group)
        return values

    def gather(self, value: float) -> list[float]:
        """The value of each rank, on all of them."""
        mine = torch.zeros(self.size, dtype=torch.float64)
        mine[self.rank] = value
        found: list[float] = self.sum(mine).tolist()
        return found

    def any_async(self, value: bool) -> Callable[[], bool]:
        """Asks whether the value is true on any rank; what comes back tells, the same on all of them.

        The question travels while the ranks do other work.
        """
        if self.size == 1:
            return lambda: value
        found = torch.tensor([int(value)])
        work = dist.all_reduce(found, op=dist.ReduceOp.MAX, group=self.group, async_op=True)

        def answer() -> bool:
            work.wait()
            return bool(found.item())

        return answer

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank. Plain data only; it also waits for rank 0."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, group_src=0, group=self.group, device=self.device)
        return box[0]


def group_of(ranks: Ranks, num_groups: int) -> Ranks:
    """The place of this rank in its group of neighbours; all ranks have to call it."""
    size = ranks.size // num_groups
    if num_groups == 1:
        return ranks
    groups: list[Any] = [None] * num_groups
    if size > 1:
        starts = range(0, ranks.size, size)
        groups = [dist.new_group([*range(start, start + size)], timeout=TIMEOUT) for start in starts]
    number, rank = divmod(ranks.rank, size)
    mine = replace(ranks, rank=rank, size=size, group=groups[number])
    if ranks.communicator is None:
        return mine
    return replace(mine, communicator=cast("MPI.Intracomm", ranks.communicator.Split(number, rank)))


def shared_store(ranks: Ranks) -> Store:
    """A store on rank 0, where ranks tell each other things while each is at its own work."""
    place = launch.detect()
    host = ranks.broadcast("127.0.0.1" if len(ranks.nodes) == 1 else socket.gethostname())
    store = _connect(place, host, 0) if ranks.is_first else None
    port = ranks.broadcast(None if store is None else store.port)
    return store if store is not None else _connect(place, host, port)


@contextmanager
def init_ranks(device_name: str, folder: Path) -> Iterator[Ranks]:
    """Joins the ranks of this run on `cpu`, `cuda`, or what `auto` finds; one rank joins nobody.

    Under srun they find each other by a file in `folder`, which all nodes see.

    Sets the threads of each rank to its share of the cores, unless OMP_NUM_THREADS says otherwise.

    Raises:
        UserError: there are too few devices, the ranks started apart, or they do not find each other.
    """
    place = launch.detect()
    device = device_of(device_name, place)
    compute_repeatably(device)
    if place.size == 1:
        _set_threads([(socket.gethostname(), _cores())])
        yield Ranks(0, 1, device, {launch.node_name(): 1})
        return
    _join(place, device, folder)
    everyone: list[Any] = [None] * place.size
    mine = (socket.gethostname(), _cores(), _unique_name(device), launch.node_name())
    dist.all_gather_object(everyone, mine)
    _set_threads([(host, cores) for host, cores, *_ in everyone])
    found = [(host, name) for host, _, name, _ in everyone]
    if not each_has_a_device(device_name, found):
        if place.rank == 0 and any(name is not None for _, name in found):
            print(f"training on processors: {_counts(found)}; one rank for each device would train on them")
        device = torch.device("cpu")
    nodes = launch.ranks_on_nodes([node for *_, node in everyone])
    has_mpi = device.type == "cpu" and place.launcher not in _WITHOUT_MPI
    communicator = launch.world() if has_mpi else None
    yield Ranks(place.rank, place.size, device, nodes, communicator=communicator)
    # Not in a `finally`: after an error the other ranks may never come, and the process ends anyway.
    dist.destroy_process_group()


def device_of(name: str, place: Launch) -> torch.device:
    """The device that `cpu`, `cuda` or `auto` means for a rank.

    Raises:
        UserError: `cuda` is asked for where there is none.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("training.device=cuda, but torch finds no such device here; set training.device=cpu")
    device = torch.device("cuda", place.local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def each_has_a_device(name: str, found: Sequence[tuple[str, str | None]]) -> bool:
    """Whether the ranks may compute on CUDA devices: NCCL wants one for each rank.

    Args:
        name: `cpu`, `cuda` or `auto`.
        found: for every rank its host, and the device that it would take; None where there is none.

    Raises:
        UserError: `cuda` is asked for, and ranks would share a device.
    """
    enough = all(device is not None for _, device in found) and len(set(found)) == len(found)
    if name == "cuda" and not enough:
        raise UserError(
            f"training.device=cuda, but {_counts(found)}: start as many ranks as there are devices, or set "
            "training.device=cpu"
        )
    return name != "cpu" and enough


def compute_repeatably(device: torch.device) -> None:
    """Asks for the algorithms that give the same bits each time; a processor's do anyway.

    PyTorch warns of an operation that has none.
    """
    if device.type == "cuda":
        # cuBLAS reads it at its first use.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def _unique_name(device: torch.device) -> str | None:
    """What tells a CUDA device from all others of its host, also where each rank sees but its own."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None


def _counts(found: Sequence[tuple[str, str | None]]) -> str:
    """The ranks and the devices of the host that has the fewest devices for its ranks."""

    def count(host: str) -> tuple[int, int]:
        names = [name for each, name in found if each == host]
        return len(set(names) - {None}), len(names)

    host = min(dict(found), key=lambda each: count(each)[0] / count(each)[1])
    devices, ranks = count(host)
    return f"{host} has {ranks} ranks and {devices} CUDA devices for them"


def _join(place: Launch, device: torch.device, folder: Path) -> None:
    # Objects on processors go by gloo also among ranks on GPUs: it works before each has one of its own.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store = None if place.launcher == "torchrun" else _store(place, folder)
        dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.size, timeout=TIMEOUT)
    except (dist.DistError, RuntimeError) as error:
        raise UserError(
            f"rank {place.rank} of {place.size}, started by {place.launcher}, does not reach the others "
            f"within {_RENDEZVOUS_TIMEOUT}: {error}"
        ) from error


def _store(place: Launch, folder: Path) -> Store:
    """The meeting point on rank 0's host: it opens a port that the system finds free, then tells which."""
    if place.launcher == "srun":
        return _store_told_by_file(place, folder)
    communicator = launch.world()
    hosts = communicator.allgather(socket.gethostname())
    host = "127.0.0.1" if len(set(hosts)) == 1 else hosts[0]
    store = _connect(place, host, 0) if place.rank == 0 else None
    port = communicator.bcast(store.port if store is not None else None)
    return store if store is not None else _connect(place, host, port)


def _store_told_by_file(place: Launch, folder: Path) -> Store:
    """Under srun alone, where no MPI need be, a file in the run folder tells where the ranks meet."""
    numbers = (os.environ[name] for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    path = folder / f".meeting-{'-'.join(numbers)}-{os.environ.get('SLURM_RESTART_COUNT', '0')}"
    deadline = time.monotonic() + _RENDEZVOUS_TIMEOUT.total_seconds()
    if place.rank == 0:
        host = "127.0.0.1" if os.environ.get("SLURM_STEP_NUM_NODES") == "1" else socket.gethostname()
        store = _connect(place, host, 0)
        write_whole(path, json.dumps([host, store.port]))
        while (found := store.add("arrived", 0) + 1) < place.size:
            if time.monotonic() > deadline:
                path.unlink()
                raise RuntimeError(f"{found} of {place.size} ranks came to {host}, port {store.port}")
            time.sleep(0.1)
        path.unlink()
        return store
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"rank 0 did not write {path}; is the run folder the same on all nodes?")
        time.sleep(0.2)
    host, port = json.loads(path.read_text(encoding="utf-8"))
    store = _connect(place, host, port)
    store.add("arrived", 1)
    return store


def _connect(place: Launch, host: str, port: int) -> TCPStore:
    return TCPStore(
        host,
        port,
        place.size,
        is_master=place.rank == 0,
        timeout=_RENDEZVOUS_TIMEOUT,
        wait_for_workers=False,
    )


def _cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _set_threads(everyone: list[tuple[str, list[int]]]) -> None:
    """Shares cores among the ranks that may use the same ones; ranks bound to their own keep them."""
    if "OMP_NUM_THREADS" not in os.environ:
        mine = (socket.gethostname(), _cores())
        share = max(1, len(mine[1]) // everyone.count(mine))
        torch.set_num_threads(share)
        threadpool_limits(share, "blas")  # NumPy's
