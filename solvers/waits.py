"""Work of the caller while a solver waits for another process.

A solver of an external program calls `call_hook` again and again while the program runs. The caller sets the
hook, for example to answer messages of other ranks, and ends the wait by an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_HOOK: ContextVar[Callable[[], None] | None] = ContextVar("_HOOK", default=None)


@contextmanager
def during_waits(hook: Callable[[], None]) -> Iterator[None]:
    """Call `hook` during the waits of all solvers inside the `with` block.

    All ranks of a solver's communicator call the hook together.
    """
    token = _HOOK.set(hook)
    try:
        yield
    finally:
        _HOOK.reset(token)


def call_hook() -> None:
    """Call the hook of the caller, if there is one. Every exception of the hook ends the wait."""
    hook = _HOOK.get()
    if hook is not None:
        hook()
