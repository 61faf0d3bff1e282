"""The ranks of a training run: joined by gloo or NCCL, whatever launcher started them."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

# Its functions take the group of all ranks as a default argument. Imported later, as DDP does, they would
# keep that group alive, and its threads would run into the end of the interpreter.
import torch.distributed.nn.functional
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from pipeline.parallel import launch
from pipeline.parallel.launch import Launch

#: How long a rank waits for the others before it gives up.
TIMEOUT = timedelta(minutes=10)
_RENDEZVOUS_TIMEOUT = timedelta(minutes=2)


@dataclass(frozen=True)
class Ranks:
    """The place of one rank among those that train together, and the device it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this rank writes the files."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over the ranks, equal on all of them."""
        if self.size > 1:
            values = values.to(self.device, copy=True)
            dist.all_reduce(values)
        return values

    def agree(self, value: Any) -> Any:
        """Rank 0's value, on every rank. Plain data only; it also waits for rank 0."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


@contextmanager
def joined(device_name: str) -> Iterator[Ranks]:
    """Joins the ranks of this run on `cpu`, `cuda`, or what `auto` finds; one rank joins nobody.

    Sets the threads of each rank to its share of the cores, unless OMP_NUM_THREADS says otherwise.

    Raises:
        ValueError: there are too few devices, the ranks started apart, or they do not find each other.
    """
    place = launch.detect()
    device = device_of(device_name, place)
    compute_repeatably(device)
    if place.size == 1:
        _set_threads([(socket.gethostname(), _cores())])
        yield Ranks(0, 1, device)
        return
    _join(place, device)
    everyone: list[Any] = [None] * place.size
    dist.all_gather_object(everyone, (socket.gethostname(), _cores(), _unique_name(device)))
    _set_threads([(host, cores) for host, cores, _ in everyone])
    found = [(host, name) for host, _, name in everyone]
    if not each_has_a_device(device_name, found):
        if place.rank == 0 and any(name is not None for _, name in found):
            print(f"training on processors: {_counts(found)}; one rank for each device would train on them")
        device = torch.device("cpu")
    yield Ranks(place.rank, place.size, device)
    # Not in a `finally`: after an error the other ranks may never come, and the process ends anyway.
    dist.destroy_process_group()


def device_of(name: str, place: Launch) -> torch.device:
    """The device that `cpu`, `cuda` or `auto` means for a rank.

    Raises:
        ValueError: `cuda` is asked for where there is none.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError("training.device=cuda, but torch finds no such device here; set training.device=cpu")
    device = torch.device("cuda", place.local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def each_has_a_device(name: str, found: Sequence[tuple[str, str | None]]) -> bool:
    """Whether the ranks may compute on CUDA devices: NCCL wants one for each rank.

    Args:
        name: `cpu`, `cuda` or `auto`.
        found: for every rank its host, and the device that it would take; None where there is none.

    Raises:
        ValueError: `cuda` is asked for, and ranks would share a device.
    """
    enough = all(device is not None for _, device in found) and len(set(found)) == len(found)
    if name == "cuda" and not enough:
        raise ValueError(
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


def _join(place: Launch, device: torch.device) -> None:
    # Objects on processors go by gloo also among ranks on GPUs: it works before each has one of its own.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store = None if place.launcher == "torchrun" else _store(place)
        dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.size, timeout=TIMEOUT)
    except (dist.DistError, RuntimeError) as error:
        raise ValueError(
            f"rank {place.rank} of {place.size}, started by {place.launcher}, does not reach the others "
            f"within {_RENDEZVOUS_TIMEOUT}: {error}"
        ) from error


def _store(place: Launch) -> Store:
    """The meeting point on rank 0's host."""
    if place.launcher == "srun":
        host, port = _slurm_address()
        return _connect(place, host, port)
    communicator = launch.world()
    hosts = communicator.allgather(socket.gethostname())
    host = "127.0.0.1" if len(set(hosts)) == 1 else hosts[0]
    # Rank 0 opens a port that the system finds free, then tells which.
    store = _connect(place, host, 0) if place.rank == 0 else None
    port = communicator.bcast(store.port if store is not None else None)
    return store if store is not None else _connect(place, host, port)


def _connect(place: Launch, host: str, port: int) -> TCPStore:
    return TCPStore(
        host,
        port,
        place.size,
        is_master=place.rank == 0,
        timeout=_RENDEZVOUS_TIMEOUT,
        wait_for_workers=False,
    )


def _slurm_address() -> tuple[str, int]:
    """The first node of the step, and a port from the job's and the step's number."""
    command = ["scontrol", "show", "hostnames", os.environ["SLURM_STEP_NODELIST"]]
    try:
        names = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    except (OSError, subprocess.SubprocessError) as error:
        raise ValueError(
            f"under srun the ranks meet on the first node that `{' '.join(command)}` names, which failed "
            f"({error}): put Slurm's scontrol on PATH on the compute nodes, or start with mpirun or torchrun"
        ) from error
    number = int(os.environ["SLURM_JOB_ID"]) * 31 + int(os.environ["SLURM_STEP_ID"])
    return names[0], 20000 + number % 12000


def _cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _set_threads(everyone: list[tuple[str, list[int]]]) -> None:
    """Shares cores among the ranks that may use the same ones; ranks bound to their own keep them."""
    if "OMP_NUM_THREADS" not in os.environ:
        mine = (socket.gethostname(), _cores())
        torch.set_num_threads(max(1, len(mine[1]) // everyone.count(mine)))
