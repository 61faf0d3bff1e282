"""What the C library does with the memory that a training step frees."""

from __future__ import annotations

import ctypes

#: Parameters of mallopt in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = (2**30, 2**25)
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Lets this process keep what it frees, blocks of up to 1 GiB, instead of giving it back to the system;
    up to 32 MiB where glibc takes no more, as before 2.35.

    A training step asks for the same blocks as the step before it. Given back, each page of them is mapped
    and set to zero again in every step, by a kernel that all ranks of a machine share. C libraries other than
    glibc are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and any(mallopt(_MMAP_THRESHOLD, largest) for largest in _LARGEST):
        mallopt(_TRIM_THRESHOLD, _NEVER)
