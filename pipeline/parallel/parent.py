"""The end of a process with the process that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: Loaded before a fork, because a child of a process with threads may not load libraries.
_LIBC = ctypes.CDLL(None)
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


def end_with_parent(parent: int) -> None:
    """Let Linux send SIGTERM to this process when its parent dies; end now if `parent` has died already."""
    if sys.platform.startswith("linux"):
        _LIBC.prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)


def end_with_mpirun() -> None:
    """End this rank with the mpirun that started it, also before MPI has started."""
    if "OMPI_COMM_WORLD_RANK" in os.environ:
        end_with_parent(os.getppid())
