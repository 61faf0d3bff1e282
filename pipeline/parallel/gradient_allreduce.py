"""The average of gradients over processors by MPI, two to three times faster than gloo."""

# Annotations are not postponed, because torch compares the annotations of a hook with types.

import os
import sys
import threading
from typing import Any

import torch
from torch.distributed import GradBucket  # type: ignore[attr-defined]

from pipeline.parallel.rendezvous import TIMEOUT


def mean_over_ranks(communicator: Any, bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
    """Return the mean of a bucket of gradients over a communicator: a hook of DistributedDataParallel.

    Each rank divides its gradients before the sum, as gloo does, so two ranks get the same bits from both
    libraries. MPI would wait forever for a rank that hangs. Therefore this process ends after `TIMEOUT`, and
    its launcher then ends the other ranks.
    """
    from mpi4py import MPI

    gradients = bucket.buffer().div_(communicator.size)
    timer = threading.Timer(TIMEOUT.total_seconds(), _end_process, (communicator.rank, communicator.size))
    timer.daemon = True
    timer.start()
    communicator.Allreduce(MPI.IN_PLACE, gradients.numpy())
    timer.cancel()
    future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    future.set_result(gradients)
    return future


def _end_process(rank: int, size: int) -> None:
    """End this process with a message; no exception reaches a thread that waits in MPI."""
    message = (
        f"[rank {rank} of {size}] error: the gradients of other ranks did not come within {TIMEOUT}. A rank "
        "hangs. Run the same command again: training continues from the last checkpoint"
    )
    print(message, file=sys.stderr, flush=True)
    os._exit(1)
