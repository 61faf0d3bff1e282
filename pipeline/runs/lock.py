"""Locks that allow one writer at a time; the system frees a lock when its holder dies, on any node."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pipeline.parallel.launch import node_name
from simsurrogate.errors import UserError
from simsurrogate.files import writable_folder, write_whole

#: The exit code of a stage that found its output locked.
EXIT_CODE = 3


class LockedError(UserError):
    """Another process writes the same output; the message names it."""


@contextmanager
def held(path: Path, against: Sequence[Path] = ()) -> Iterator[None]:
    """Hold the lock `path`, if no process holds a lock in `against`.

    The lock is `flock`'s: the system frees it when the holder ends in any way. The file `*.holder.json`
    next to it names the holder; the file of a dead process is replaced, with a note.

    Raises:
        LockedError: another process holds the lock; the message names it.
    """
    writable_folder(path.parent)
    # Imported late, here and below, because the import takes as long as the rest of a status command.
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LockedError(_held_by(path)) from None
    try:
        for other_path in against:
            _refuse_if_held(other_path)
        holder = _holder_path(path)
        if holder.exists():
            print(f"note: took over {path}, which {_read(holder)} did not release", flush=True)
        write_whole(holder, json.dumps(_this_process()))
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)
    finally:
        lock.release()


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """Wait until a lock is free, and hold it."""
    from filelock import FileLock

    writable_folder(path.parent)
    with FileLock(path, timeout=600):
        yield


def _refuse_if_held(path: Path) -> None:
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=0):
            pass
    except Timeout:
        raise LockedError(_held_by(path)) from None


def _held_by(path: Path) -> str:
    return (
        f"{_read(_holder_path(path))} writes the same output already (lock {path}). One process writes at a "
        "time. Wait until it is done, end it, or choose another folder with run="
    )


def _this_process() -> dict[str, str]:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID")
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "process": str(os.getpid()),
        "node": node_name(),
        "since": since,
        **({"Slurm job": job} if job else {}),
    }


def _read(holder: Path) -> str:
    try:
        properties = json.loads(holder.read_text(encoding="utf-8"))
        return ", ".join(f"{name} {value}" for name, value in properties.items())
    except (OSError, ValueError, AttributeError):
        return "another process"


def _holder_path(path: Path) -> Path:
    return path.with_suffix(".holder.json")
