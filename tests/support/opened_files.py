"""The observation of a file by inotify: whether any process opens the file."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_OPEN, _IN_NONBLOCK = 0x20, 0o4000


class Watch:
    """A file under observation."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    def was_opened(self) -> bool:
        """Return whether a process has opened the file since the last call."""
        try:
            return bool(os.read(self._descriptor, 4096))
        except BlockingIOError:
            return False


@contextmanager
def watched(path: Path) -> Iterator[Watch]:
    """Yield the watch of a file."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(_IN_NONBLOCK)
    assert libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_OPEN) >= 0
    try:
        yield Watch(descriptor)
    finally:
        os.close(descriptor)
