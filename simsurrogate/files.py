"""Atomic file writes, writable folders, checksums, and comparison of JSON data."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Collection
from io import BufferedReader
from pathlib import Path

from simsurrogate.errors import UserError
from simsurrogate.storage import storage_error

#: The names that `create_partial` gives to files.
_PARTIAL_NAME = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.partial", re.DOTALL)


def writable_folder(folder: Path) -> Path:
    """Return `folder`, created if it is missing.

    Raises:
        UserError: the folder cannot be created or written.
        StorageError: the file system has no space or no inode for the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise storage_error(folder, 0, error, "run it again") from error
        raise UserError(
            f"cannot create the folder {folder}: {error.strerror}. The stage needs a folder that it can "
            "write. Type run=FOLDER with another folder"
        ) from None
    if is_read_only(folder):
        raise UserError(
            f"the folder {folder} is not writable. The stage needs a folder that it can write. Type "
            "run=FOLDER with another folder"
        )
    return folder


def is_read_only(folder: Path) -> bool:
    """Return whether the folder exists and this process may not write it."""
    return folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK)


def create_partial(path: Path) -> tuple[int, Path]:
    """Create the temporary file of a file during its write; return an open descriptor and the path.

    The name is random, and the file is new: no other process writes to it, and no link is followed.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    return os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), partial


def remove_partials(folder: Path, names: Collection[str] | None = None) -> None:
    """Remove the temporary files that dead processes left in a folder, of all files or of some `names`.

    No living process may write these files at the same time.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _PARTIAL_NAME.fullmatch(path.name)
        if match and (names is None or match["name"] in names):
            path.unlink(missing_ok=True)


def publish(partial: Path, path: Path) -> None:
    """Rename a synced file to its final name; sync the folder to keep the name after a crash."""
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_whole(path: Path, content: str | bytes, advice: str = "run it again") -> None:
    """Write a file that is complete or absent, even if the machine stops during the write.

    Args:
        path: the file.
        content: the text (written as UTF-8) or the bytes of the file.
        advice: the command to repeat once the disk has space, for the error message.

    Raises:
        StorageError: the file cannot be written.
    """
    content_bytes = content.encode() if isinstance(content, str) else content
    partial = None
    try:
        descriptor, partial = create_partial(path)
        with open(descriptor, "wb") as file:
            file.write(content_bytes)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise storage_error(path, len(content_bytes), error, advice) from error
    publish(partial, path)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; never wait for a pipe or a device, and never follow a link.

    Raises:
        UserError: the path leads to a link, a folder, a pipe or a device.
        OSError: the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise _not_regular(path, "a symbolic link" if error.errno == errno.ELOOP else "a socket") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _not_regular(path, "a folder" if stat.S_ISDIR(mode) else "a pipe or a device")
    return open(descriptor, "rb")


def _not_regular(path: Path, found: str) -> UserError:
    return UserError(f"{path} is {found}. Only regular files are read. Put the file itself in this place")


#: Size, inode, and the times of the last changes of content and inode (ns).
FileIdentity = tuple[int, int, int, int]


def file_identity(path: Path) -> FileIdentity:
    """Return size, inode, and the times of the last changes of content and inode (ns) of a file.

    A later write to the file, and a copy of the file, have another identity.
    """
    return identity_of(os.stat(path))


def identity_of(status: os.stat_result) -> FileIdentity:
    """Return the identity of a file with this status, see `file_identity`."""
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def sha256_of(path: Path) -> str:
    """Return the SHA-256 checksum of a regular file's content, in hexadecimal digits."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(json_data: object) -> str:
    """Return a hash of JSON data; the order of keys does not change the hash."""
    return hashlib.sha256(json.dumps(json_data, sort_keys=True).encode()).hexdigest()


def differences(recorded_data: object, requested_data: object, key: str = "") -> list[str]:
    """Return the differences between two JSON values, each as a line `key: recorded -> requested`."""
    if isinstance(recorded_data, dict) and isinstance(requested_data, dict):
        names = [*requested_data, *(name for name in recorded_data if name not in requested_data)]
        return [
            line
            for name in names
            for line in differences(
                recorded_data.get(name), requested_data.get(name), f"{key}.{name}" if key else str(name)
            )
        ]
    return (
        []
        if recorded_data == requested_data
        else [f"{key}: {json.dumps(recorded_data)} -> {json.dumps(requested_data)}"]
    )
