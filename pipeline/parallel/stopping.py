"""Stop requests by SIGUSR1, which schedulers send before the time limit of a stage."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

#: The exit code of a stage that stopped on request and can continue: EX_TEMPFAIL of BSD's sysexits.h.
EXIT_CODE = 75


class StoppedError(Exception):
    """The stage stopped on request; the message states its progress."""


@dataclass
class StopRequest:
    """A flag that is set once this process has received SIGUSR1."""

    is_received: bool = False


@contextmanager
def listen(action: Callable[[], None] | None = None) -> Iterator[StopRequest]:
    """Yield a request that SIGUSR1 sets, as soon as a running call of MPI or torch has returned.

    Nested listeners are all notified. `action` is called at each signal.
    """
    request = StopRequest()

    def receive(signal_number: int, frame: FrameType | None) -> None:
        request.is_received = True
        if action is not None:
            action()
        if callable(previous_handler):
            previous_handler(signal_number, frame)

    previous_handler = signal.signal(signal.SIGUSR1, receive)
    try:
        yield request
    finally:
        signal.signal(signal.SIGUSR1, previous_handler)


def ignore() -> None:
    """Ignore SIGUSR1, which would end the process before a stage listens and after its work."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
