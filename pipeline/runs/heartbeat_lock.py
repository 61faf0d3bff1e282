"""Locks on file systems without flock: a numbered file with its holder, which the holder touches regularly.

The file with the greatest number counts. A process takes the lock by the exclusive creation of the next
file, so two processes never take over the lock of one dead holder. The lock is free if its holder released
the lock, is known to be dead, or has been silent for `SILENCE_SECONDS`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.runs.liveness import is_dead, process_identity

#: The time (s) without a touch after which a holder on another node counts as dead.
SILENCE_SECONDS = 480
_TOUCH_SECONDS = 20.0
_RELEASED = b"{}"


def take(path: Path, mode: int) -> Path | None:
    """Return the file that holds the lock `path` for this process, or None if another process holds the lock.

    Raises:
        OSError: the folder cannot be written.
    """
    files = _files(path)
    if files and _is_held(files[-1]):
        return None
    file = path.with_name(f"{path.name}.{_number(files[-1]) + 1 if files else 1:06d}")
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    except FileExistsError:
        return None
    with open(descriptor, "wb") as stream:
        os.fchmod(descriptor, mode)
        stream.write(json.dumps(process_identity()).encode())
        stream.flush()
        os.fsync(descriptor)
    # On NFS the first list may have been old; the new file has renewed the list.
    files = _files(path)
    if files[-1] != file:
        file.unlink(missing_ok=True)
        return None
    for old_file in files[:-1]:
        old_file.unlink(missing_ok=True)
    return file


@contextmanager
def keep(file: Path) -> Iterator[None]:
    """Touch the file of a lock inside the `with` block, and then release the lock."""
    is_released = threading.Event()
    thread = threading.Thread(target=_touch, args=(file, is_released), name="lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_released.set()
        thread.join()
        with suppress(FileNotFoundError), open(os.open(file, os.O_WRONLY | os.O_TRUNC), "wb") as stream:
            stream.write(_RELEASED)


def _touch(file: Path, is_released: threading.Event) -> None:
    """Touch the file regularly. End this process if another process has taken over the lock."""
    while not is_released.wait(_TOUCH_SECONDS):
        try:
            os.utime(file)
        except FileNotFoundError:
            print(
                f"error: another process took over the lock {file}, because this process was silent for "
                f"{SILENCE_SECONDS} s. Type the command again",
                file=sys.stderr,
                flush=True,
            )
            os.kill(os.getpid(), signal.SIGTERM)
            return
        except OSError:
            continue  # The file system may answer again.


def _is_held(file: Path) -> bool:
    try:
        content, touched = file.read_bytes(), file.stat().st_mtime
    except FileNotFoundError:
        return True  # Another process takes the lock at this moment.
    if content == _RELEASED:
        return False
    with suppress(ValueError, AttributeError):
        if is_dead(dict(json.loads(content))):
            return False
    # The time of the file system, because the clocks of two nodes may differ.
    with tempfile.TemporaryFile(dir=file.parent) as probe:
        now = os.fstat(probe.fileno()).st_mtime
    return now - touched < SILENCE_SECONDS


def _files(path: Path) -> list[Path]:
    """Return the files of a lock by their numbers."""
    files = path.parent.glob("*.lock.*")
    return sorted(
        (file for file in files if re.fullmatch(re.escape(path.name) + r"\.\d+", file.name)), key=_number
    )


def _number(file: Path) -> int:
    return int(file.suffix[1:])
