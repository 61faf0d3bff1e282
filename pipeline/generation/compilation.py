"""The time that numba needs to compile kernels, which is no cost of the data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def compile_clock() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the seconds of compilations since the start of the context.

    The result is 0 if the solver has not imported numba before. Kernels from the cache on disk take no time.
    """
    if "numba" not in sys.modules:
        yield lambda: 0.0
        return
    from numba.core import event

    with event.install_timer("numba:compile", lambda seconds: None) as listener:
        yield lambda: float(listener.duration) if listener.done else 0.0
