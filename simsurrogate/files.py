"""Atomic writes of files, writable folders, checksums, and comparison of plain data."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from simsurrogate.errors import StorageError, UserError


def writable_folder(folder: Path) -> Path:
    """Return `folder`, created if it is missing.

    Raises:
        UserError: the folder cannot be created or written.
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
    """Return the path under which a file is written before it is whole."""
    return path.with_name(f".{path.name}.partial")


def publish(partial: Path, path: Path) -> None:
    """Rename a synced file to its final name, and sync the folder so that the name survives a crash."""
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_whole(path: Path, content: str | bytes, then: str = "run it again") -> None:
    """Write a file that is complete or absent, even if the machine stops during the write.

    Args:
        path: the file.
        content: its text (UTF-8) or its bytes.
        then: the advice at the end of the error message, for the time when there is space.

    Raises:
        StorageError: the file cannot be written.
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
    """Return the SHA-256 checksum of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(plain: object) -> str:
    """Return a hash of plain data that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def differences(present: object, requested: object, key: str = "") -> list[str]:
    """Return the keys in which two pieces of plain data differ, each as `key: present -> requested`."""
    if isinstance(present, dict) and isinstance(requested, dict):
        names = [*requested, *(name for name in present if name not in requested)]
        return [
            line
            for name in names
            for line in differences(
                present.get(name), requested.get(name), f"{key}.{name}" if key else str(name)
            )
        ]
    return [] if present == requested else [f"{key}: {json.dumps(present)} -> {json.dumps(requested)}"]
