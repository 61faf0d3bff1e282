"""The quiet end of all ranks after an error that all ranks share."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress

from pipeline.parallel import launch, mpi

#: The time in which all ranks have to report the end. A rank that works on does not report it.
_WAIT_SECONDS = 2.0
#: The time in which MPI has to start and to end.
_MPI_SECONDS = 8.0
#: The time by which rank 0 outlives the other ranks.
_LAST_SECONDS = 0.4


def end_together(exit_code: int) -> bool:
    """End this process if all ranks of an mpirun call this function within 2 s; else return.

    Open MPI prints 14 lines about an abort, and 7 lines about a rank that ends with another code than 0 while
    others run. Therefore the other ranks end with 0, and rank 0 ends last, with the exit code of mpirun.

    Returns:
        Whether the function has waited for the other ranks; it does not wait under other launchers.
    """
    process = launch.detect()
    if not process.launcher.startswith("mpirun"):
        return False
    sys.stdout.flush()
    sys.stderr.flush()
    watchdog = threading.Timer(_WAIT_SECONDS + _MPI_SECONDS, os._exit, (exit_code,))
    watchdog.daemon = True
    watchdog.start()
    with suppress(Exception):  # The error itself is reported already, or by the caller.
        if _is_shared(process.size):
            from mpi4py import MPI

            MPI.Finalize()
            if process.rank == 0:
                time.sleep(_LAST_SECONDS)
            os._exit(exit_code if process.rank == 0 else 0)
    watchdog.cancel()
    return True


def _is_shared(size: int) -> bool:
    """Return whether all ranks call this function within `_WAIT_SECONDS`."""
    mpi.initialise(is_alone=False)
    from mpi4py import MPI

    if MPI.Is_finalized() or MPI.COMM_WORLD.size != size:
        return False
    request, start = MPI.COMM_WORLD.Ibarrier(), time.monotonic()
    while not request.Test():
        if time.monotonic() - start > _WAIT_SECONDS:
            return False
        time.sleep(0.01)
    return True
