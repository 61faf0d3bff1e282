"""The end of all ranks after an error: quiet if all ranks share the error, else at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from pipeline.parallel import launch, mpi

if TYPE_CHECKING:
    from mpi4py import MPI

#: The time in which all ranks have to report the end. A rank that works on does not report it.
_WAIT_SECONDS = 2.0
#: The time in which MPI has to start and to end.
_MPI_SECONDS = 15
#: The time by which rank 0 outlives the other ranks.
_LAST_SECONDS = 0.4
#: The tag of the messages about the end. No other message has this tag.
_TAG = 32767


def end_together(exit_code: int) -> bool:
    """End this process if all ranks of an mpirun call this function within 2 s; else return.

    Every rank has to reach the start of MPI within 15 s. Otherwise SIGALRM ends this process, and mpirun ends
    all ranks with exit code 142.

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
    with suppress(Exception):  # The error itself is reported already, or by the caller.
        _start_mpi()
        if _is_shared(process.size):
            from mpi4py import MPI

            _end_process_later()
            MPI.Finalize()
            if process.rank == 0:
                time.sleep(_LAST_SECONDS)
            os._exit(exit_code if process.rank == 0 else 0)
    return True


def abort(exit_code: int) -> NoReturn:
    """End all ranks at once.

    Open MPI's mpirun aborts or hangs if a rank ends while another rank connects to mpirun, at the start of
    MPI. Therefore this rank starts MPI before it ends; then all ranks are connected.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(Exception):  # The error itself is reported already.
        if launch.detect().launcher.startswith("mpirun"):
            _start_mpi()
        mpi_module = sys.modules.get("mpi4py.MPI")
        if mpi_module is not None and mpi_module.Is_initialized() and not mpi_module.Is_finalized():
            mpi_module.COMM_WORLD.Abort(exit_code)
    os._exit(exit_code)


def _start_mpi() -> None:
    """Start MPI, if all ranks do so within `_MPI_SECONDS`; else end this process."""
    _end_process_later()
    mpi.initialise(is_alone=False)
    signal.alarm(0)


def _end_process_later() -> None:
    """End this process after `_MPI_SECONDS`, by a signal: MPI starts without releasing Python's lock."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_MPI_SECONDS)


def _is_shared(size: int) -> bool:
    """Return whether all ranks call this function within `_WAIT_SECONDS`.

    The ranks exchange messages with a tag of their own. A barrier would match the barrier of a rank that
    works.
    """
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if MPI.Is_finalized() or world.size != size:
        return False
    message = bytearray(1)
    if world.rank > 0:
        world.Isend(message, 0, _TAG)
        return _have_arrived([world.Irecv(bytearray(1), 0, _TAG)])
    other_ranks = range(1, size)
    if not _have_arrived([world.Irecv(bytearray(1), rank, _TAG) for rank in other_ranks]):
        return False
    for rank in other_ranks:
        world.Send(message, rank, _TAG)
    return True


def _have_arrived(requests: list[MPI.Request]) -> bool:
    """Return whether the messages of all requests arrive within `_WAIT_SECONDS`."""
    start = time.monotonic()
    while not all(request.Test() for request in requests):
        if time.monotonic() - start > _WAIT_SECONDS:
            return False
        time.sleep(0.01)
    return True
