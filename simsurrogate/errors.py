"""Errors by type: a user's mistake is a `UserError`; every other exception is a bug with a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake of the user: a wrong option, file, folder or command.

    The message names the mistake with the wrong value and its origin, the allowed values, and the command to
    type. The command line prints the message alone; every other exception is printed with its traceback.
    """


class StorageError(UserError, OSError):
    """A file that cannot be written, because of missing space or permissions."""
