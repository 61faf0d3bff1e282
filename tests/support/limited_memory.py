"""A stage that may allocate a limited amount of memory after all imports and the start of MPI.

    python -m tests.support.limited_memory STAGE MEBIBYTES OVERRIDES

Pages of memory-mapped files do not count, because the system drops them when it needs the memory.
"""

from __future__ import annotations

import importlib
import re
import resource
import sys
from pathlib import Path

import matplotlib.figure  # noqa: F401
import numpy as np
import scipy.spatial  # noqa: F401

from pipeline import cli
from pipeline.parallel import launch
from simsurrogate import documents


def limit_memory(mebibytes: int) -> None:
    """Allow this process to allocate so much more than it has allocated."""
    status = Path("/proc/self/status").read_text()
    allocated = int(re.findall(r"VmData:\s+(\d+) kB", status)[0]) * 1024
    limit = allocated + mebibytes * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


if __name__ == "__main__":
    stage, mebibytes, *overrides = sys.argv[1:]
    run = importlib.import_module(f"pipeline.{stage}").run
    sys.argv = [stage, *overrides]
    launch.world()  # MPI allocates its buffers, and so does BLAS.
    np.ones((256, 256)) @ np.ones((256, 256))
    # A document is read into a buffer of the largest size, which is reserved and hardly ever filled.
    documents.read_text.__defaults__ = (2**20,)
    limit_memory(int(mebibytes))
    cli.main(run)
