"""The rendezvous of the ranks: processes of any launcher form one process group of torch.distributed."""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from pipeline.parallel import launch
from pipeline.parallel.launch import Launch
from simsurrogate.documents import read_json
from simsurrogate.errors import UserError
from simsurrogate.files import write_whole

#: The time that a rank waits for the other ranks in an operation of the group.
TIMEOUT = timedelta(minutes=10)
#: The time that a rank waits for the other ranks at the rendezvous.
_RENDEZVOUS_TIMEOUT = timedelta(minutes=2)


def join_group(process: Launch, device: torch.device, folder: Path) -> None:
    """Join the process group of all ranks; under srun the ranks find each other by a file in `folder`.

    Raises:
        UserError: the ranks do not find each other within two minutes.
    """
    # Gloo sends CPU tensors even if the ranks have GPUs: gloo works before each rank has its GPU.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store = None if process.launcher == "torchrun" else _rendezvous_store(process, folder)
        dist.init_process_group(
            backend, store=store, rank=process.rank, world_size=process.size, timeout=TIMEOUT
        )
    except (dist.DistError, RuntimeError) as error:
        raise UserError(
            f"rank {process.rank} of {process.size}, started by {process.launcher}, does not reach the "
            f"others within {_RENDEZVOUS_TIMEOUT}: {error}. All ranks must start together, see the same run "
            "folder and reach rank 0 by TCP. Start the stage again"
        ) from error


def connect(process: Launch, host: str, port: int) -> TCPStore:
    """Return the key-value store of `host`; rank 0 opens it, on a free port if `port` is 0."""
    return TCPStore(
        host,
        port,
        process.size,
        is_master=process.rank == 0,
        timeout=_RENDEZVOUS_TIMEOUT,
        wait_for_workers=False,
    )


def _rendezvous_store(process: Launch, folder: Path) -> Store:
    """Return the store on the host of rank 0, at a port that the system finds free."""
    if process.launcher == "srun":
        return _store_by_file(process, folder)
    communicator = launch.world()
    hosts = communicator.allgather(socket.gethostname())
    host = "127.0.0.1" if len(set(hosts)) == 1 else hosts[0]
    store = connect(process, host, 0) if process.rank == 0 else None
    port = communicator.bcast(store.port if store is not None else None)
    return store if store is not None else connect(process, host, port)


def _store_by_file(process: Launch, folder: Path) -> Store:
    """Return the store whose host and port rank 0 writes into a file, so srun needs no MPI."""
    step_ids = (os.environ[name] for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    path = folder / f".rendezvous-{'-'.join(step_ids)}-{os.environ.get('SLURM_RESTART_COUNT', '0')}"
    deadline = time.monotonic() + _RENDEZVOUS_TIMEOUT.total_seconds()
    if process.rank == 0:
        host = "127.0.0.1" if os.environ.get("SLURM_STEP_NUM_NODES") == "1" else socket.gethostname()
        store = connect(process, host, 0)
        write_whole(path, json.dumps([host, store.port]))
        while (num_arrived := store.add("arrived", 0) + 1) < process.size:
            if time.monotonic() > deadline:
                path.unlink()
                raise RuntimeError(f"{num_arrived} of {process.size} ranks came to {host}, port {store.port}")
            time.sleep(0.1)
        path.unlink()
        return store
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"rank 0 did not write {path}; is the run folder the same on all nodes?")
        time.sleep(0.2)
    host, port = read_json(path, tuple[str, int], "Start the stage again")
    store = connect(process, host, port)
    store.add("arrived", 1)
    return store
