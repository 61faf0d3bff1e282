"""Gradients averaged over processors by MPI, in a half to a third of the time that gloo takes."""

# Without postponed annotations: torch compares those of a hook with its types.

import os
import sys
import threading
from typing import Any

import torch
from torch.distributed import GradBucket  # type: ignore[attr-defined]

from pipeline.parallel.ranks import TIMEOUT


def mean_over_ranks(communicator: Any, bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
    """A hook of DistributedDataParallel: the mean of a bucket of gradients over an MPI communicator.

    Divided before they are summed, as gloo does it: two ranks get the same bits from both. MPI waits for ever
    for a rank that hangs; this process ends after `TIMEOUT`, and its launcher then ends the others.
    """
    from mpi4py import MPI

    values = bucket.buffer().div_(communicator.size)
    patience = threading.Timer(TIMEOUT.total_seconds(), _give_up, (communicator.rank, communicator.size))
    patience.daemon = True
    patience.start()
    communicator.Allreduce(MPI.IN_PLACE, values.numpy())
    patience.cancel()
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(values)
    return done


def _give_up(rank: int, size: int) -> None:
    said = f"[rank {rank} of {size}] error: the gradients of other ranks did not come within {TIMEOUT}"
    print(said, file=sys.stderr, flush=True)
    # No exception reaches a thread that waits in MPI.
    os._exit(1)
