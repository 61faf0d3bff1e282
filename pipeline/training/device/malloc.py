"""The memory that a training step frees: settings of the C library's malloc."""

from __future__ import annotations

import ctypes

#: Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Thresholds to try, in bytes; glibc before 2.35 accepts only the second.
_THRESHOLDS = (2**30, 2**25)
_NEVER_TRIM = 2**31 - 1


def keep_freed_memory() -> None:
    """Let this process keep freed blocks of up to 1 GiB (32 MiB before glibc 2.35) for its next allocations.

    A training step allocates the same blocks as the step before it. If the blocks were returned to the
    system, the kernel would map and clear each of their pages again in every step. C libraries other than
    glibc keep their settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and any(mallopt(_MMAP_THRESHOLD, threshold) for threshold in _THRESHOLDS):
        mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
