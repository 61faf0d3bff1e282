"""SIGUSR1 asks a stage to keep what it has and to end: a scheduler sends it before the time is up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

#: The exit code of a stage that stopped when it was asked to, and that goes on where it is run again:
#: EX_TEMPFAIL of BSD's sysexits.h.
EXIT_CODE = 75


class StoppedError(Exception):
    """The stage stopped because it was asked to; the message tells how far it came."""


@dataclass
class StopRequest:
    """Whether this process was asked to stop."""

    received: bool = False


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Notes SIGUSR1, once the call of MPI or torch returns that it interrupts.

    Who listens around another one notes it as well.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        request.received = True
        if callable(before):
            before(number, frame)

    before = signal.signal(signal.SIGUSR1, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGUSR1, before)


def ignore() -> None:
    """Lets SIGUSR1 pass before a stage listens and after its work, where it would kill the process."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
