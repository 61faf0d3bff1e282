"""Locks that allow one writer at a time. The system frees a lock when its holder dies, on any node.

A file system without flock has locks with heartbeats instead, see `heartbeat_lock`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from pipeline.parallel.launch import node_name
from pipeline.runs import heartbeat_lock
from simsurrogate.documents import read_json
from simsurrogate.errors import UserError
from simsurrogate.files import is_read_only, remove_partials, writable_folder, write_whole
from simsurrogate.storage import storage_error

#: The exit code of a stage that found its output locked.
EXIT_CODE = 3

#: The longest wait for a lock that is held for seconds only, s.
_LONGEST_WAIT = 600
#: The pause between two attempts to take a lock, s.
_PAUSE = 0.2

#: The longest wait of a requeued job for its own lock, s. The ranks wait for each other twice as long.
_LONGEST_RESTART_WAIT = 300

#: flock's errors if another process holds the lock, and on file systems without flock.
_HELD = (errno.EAGAIN, errno.EACCES)
_NO_FLOCK = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class LockedError(UserError):
    """Another process writes the same output. The message names the process."""


@contextmanager
def hold(path: Path, other_locks: Sequence[Path] = (), *, key: str = "run") -> Iterator[None]:
    """Hold the lock `path`, if no process holds a lock in `other_locks`.

    The lock is `flock`'s: the system frees it when the holder ends in any way. The file `*.holder.json`
    next to the lock names the holder; the file of a dead process is replaced, with a note. `key` is the key
    that chooses another output, for the message. A process that may not write the output needs no lock.

    A requeued Slurm job waits some minutes for its own lock, because processes of its former run may still
    live on a lost node.

    Raises:
        LockedError: another process holds the lock; the message names the process.
    """
    if _is_useless(path):
        yield
        return
    seconds, note = 0, ""
    if _is_held_by_former_run(path):
        seconds = _LONGEST_RESTART_WAIT
        note = (
            f"note: {_holder_text(_holder_path(path))}, the former run of this requeued job, still holds "
            f"{path}. Waiting up to {seconds} s"
        )
    with _locked(path, partial(_locked_message, path, key), seconds, note):
        for other_path in other_locks:
            with _locked(other_path, partial(_locked_message, other_path, key)):
                pass
        holder = _holder_path(path)
        if holder.exists():
            print(f"note: took over {path}, which {_holder_text(holder)} did not release", flush=True)
        remove_partials(path.parent, [holder.name])
        write_whole(holder, json.dumps(_process_description()))
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """Wait until a lock is free, and hold the lock, see `hold`.

    Raises:
        LockedError: another process holds the lock for 10 minutes.
    """
    if _is_useless(path):
        yield
        return
    message = (
        f"another process has held {path} for {_LONGEST_WAIT} s. The lock is free after seconds. End the "
        "process that hangs; `fuser` or `lsof` with the path of the lock shows it on its node"
    )
    with _locked(path, lambda: message, _LONGEST_WAIT):
        yield


@contextmanager
def _locked(path: Path, refusal: Callable[[], str], seconds: float = 0, note: str = "") -> Iterator[None]:
    """Hold a lock, after a wait of up to `seconds`; print `note` before the wait.

    Raises:
        LockedError: another process holds the lock; `refusal` returns the message.
        StorageError: the file of the lock cannot be opened.
    """
    descriptor, mode = _open(path)
    deadline = time.monotonic() + seconds
    try:
        while True:
            with _explained_errors(path):
                is_taken, heartbeat_file = _take(path, descriptor, mode)
            if is_taken:
                break
            if time.monotonic() >= deadline:
                raise LockedError(refusal())
            if note:
                print(note, flush=True)
            note = ""
            time.sleep(_PAUSE)
        with heartbeat_lock.keep(heartbeat_file) if heartbeat_file else nullcontext():
            yield
    finally:
        os.close(descriptor)


def _take(path: Path, descriptor: int, mode: int) -> tuple[bool, Path | None]:
    """Try to take a lock; return whether this process has it, and its file on a file system without flock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False, None
        if error.errno not in _NO_FLOCK:
            raise
        _note_missing_flock(path.parent, error.strerror)
        file = heartbeat_lock.take(path, mode)
        return file is not None, file
    return True, None


@cache
def _note_missing_flock(folder: Path, cause: str) -> None:
    print(
        f"note: the file system of {folder} has no flock ({cause}). Locks are files that their holders "
        "touch. "
        f"The lock of a process that dies on another node is free after {heartbeat_lock.SILENCE_SECONDS} s",
        file=sys.stderr,
        flush=True,
    )


def _is_held_by_former_run(path: Path) -> bool:
    job = _process_description().get("Slurm job")
    is_requeued = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    return is_requeued and job is not None and _holder(_holder_path(path)).get("Slurm job") == job


def _is_useless(path: Path) -> bool:
    """Return whether this process may write neither the folder of the lock nor the folder of the output."""
    folder = path.parent
    return is_read_only(folder.parent) and (is_read_only(folder) or not folder.exists())


def _open(path: Path) -> tuple[int, int]:
    """Open the file of a lock; return its descriptor and its rights, those of the output's group."""
    is_new = not path.parent.exists()
    folder = writable_folder(path.parent)
    group_right = folder.parent.stat().st_mode & stat.S_IWGRP
    if is_new and group_right:
        folder.chmod(folder.stat().st_mode | group_right)
    mode = 0o644 | group_right
    with _explained_errors(path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        except FileExistsError:
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK), mode
        os.fchmod(descriptor, mode)  # The umask of this process does not apply.
        return descriptor, mode


@contextmanager
def _explained_errors(path: Path) -> Iterator[None]:
    """Replace an error of the system on a lock by one sentence."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, 0, error, "run it again, or choose another folder with run=") from error


def _locked_message(path: Path, key: str) -> str:
    return (
        f"{_holder_text(_holder_path(path))} writes the same output already (lock {path}). One process "
        f"writes at a time. Wait until the process ends, end the process, or name another output with {key}="
    )


def _process_description() -> dict[str, str]:
    array_job, array_task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array_job}_{array_task}" if array_job else os.environ.get("SLURM_JOB_ID")
    start_time = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "process": str(os.getpid()),
        "node": node_name(),
        "since": start_time,
        **({"Slurm job": job} if job else {}),
    }


def _holder_text(holder: Path) -> str:
    return ", ".join(f"{name} {value}" for name, value in _holder(holder).items()) or "another process"


def _holder(holder: Path) -> dict[str, str]:
    """Return the description of a lock's holder, or an empty one if the file cannot be read."""
    try:
        return read_json(holder, dict[str, str], "")
    except UserError:
        return {}


def _holder_path(path: Path) -> Path:
    return path.with_suffix(".holder.json")
