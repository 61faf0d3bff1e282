"""Error types and their places: a `UserError` is a mistake of the user; every other exception is a bug."""

from __future__ import annotations

import inspect


class UserError(ValueError):
    """A mistake of the user: a wrong option, file, folder or command.

    The message names the wrong value and its origin, the allowed values, and the command to type. The
    command line prints the message without a traceback. Every other exception is printed with its traceback.
    """


class StorageError(UserError, OSError):
    """A file that cannot be written, because of missing space or permissions."""


def file_and_class(cls: type) -> str:
    """Return the file and the name of a class, for messages to its author."""
    return f"{inspect.getsourcefile(cls)}: {cls.__name__}"
