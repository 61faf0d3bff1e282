"""The threads of each rank: its share of the cores of its machine."""

from __future__ import annotations

import os
import socket

import torch
from threadpoolctl import threadpool_limits


def usable_cores() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def set_threads(cores_of_ranks: list[tuple[str, list[int]]]) -> None:
    """Set the threads of PyTorch and NumPy to this rank's share of its cores.

    `cores_of_ranks` holds the host and the usable cores of each rank. Ranks of one host with the same usable
    cores share these cores; a rank that is bound to its own cores keeps all its cores. OMP_NUM_THREADS takes
    precedence.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        own_entry = (socket.gethostname(), usable_cores())
        num_threads = max(1, len(own_entry[1]) // cores_of_ranks.count(own_entry))
        torch.set_num_threads(num_threads)
        threadpool_limits(num_threads, "blas")  # for NumPy
