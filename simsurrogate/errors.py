"""Errors by type: a user's mistake is a `UserError`, everything else is a bug and keeps its traceback."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake of the user: a wrong option, file, folder or command.

    The message says what is wrong (with the value and where it came from), what is allowed, and what to
    type. The command line prints the message alone; every other exception is printed with its traceback.
    """


class StorageError(UserError, OSError):
    """A file that the system could not write, for lack of space or of rights."""
