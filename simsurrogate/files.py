"""Files that are whole or absent, folders that can be written, and checksums."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from simsurrogate.errors import StorageError, UserError


def writable_folder(folder: Path) -> Path:
    """Makes `folder` where it is missing.

    Raises:
        UserError: it cannot be made or written; the message names the folder and the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder {folder}: {error.strerror}; choose another with run="
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"the folder {folder} is not writable; choose another with run=")
    return folder


def partial_path(path: Path) -> Path:
    """Where a file is written before it is whole."""
    return path.with_name(f".{path.name}.partial")


def publish(partial: Path, path: Path) -> None:
    """Gives a file that is on the disk its final name, also on the disk when this returns."""
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_whole(path: Path, content: str | bytes, then: str = "run it again") -> None:
    """Writes a file that is whole or absent, also when the machine stops in between.

    Raises:
        OSError: it cannot be written; the message ends with what to do once there is room, `then`.
    """
    partial = partial_path(path)
    raw = content.encode() if isinstance(content, str) else content
    try:
        with open(partial, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"cannot write the {len(raw)} bytes of {path}: {error.strerror}; make room and {then}"
        ) from error
    publish(partial, path)


def sha256_of(path: Path) -> str:
    """The SHA-256 checksum of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(plain: Any) -> str:
    """A hash of plain data that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
