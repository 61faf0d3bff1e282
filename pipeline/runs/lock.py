"""One writer at a time: a lock that the system frees when its holder dies, on whatever node that is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.parallel.launch import node_name
from simsurrogate.errors import UserError
from simsurrogate.files import writable_folder, write_whole

#: The exit code of a stage that found its output locked.
EXIT_CODE = 3


class LockedError(UserError):
    """Another process writes the same output; the message names it."""


@contextmanager
def held(path: Path, against: Sequence[Path] = ()) -> Iterator[None]:
    """Holds the lock `path`, while nobody holds any of those in `against`.

    The lock is `flock`'s, which the system frees however its holder ends. Beside it `*.holder.json` tells
    who has it; what a dead process left there is replaced, with a note.

    Raises:
        LockedError: it is held; the message names the holder.
    """
    writable_folder(path.parent)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LockedError(_who_holds(path)) from None
    try:
        for other in against:
            _refuse_if_held(other)
        holder = _holder_path(path)
        if holder.exists():
            print(f"note: took over {path}, which {_read(holder)} left behind", flush=True)
        write_whole(holder, json.dumps(_myself()))
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)
    finally:
        lock.release()


@contextmanager
def waited_for(path: Path) -> Iterator[None]:
    """Holds a lock for a moment's work, as soon as it is free."""
    writable_folder(path.parent)
    with FileLock(path, timeout=600):
        yield


def _refuse_if_held(path: Path) -> None:
    try:
        with FileLock(path, timeout=0):
            pass
    except Timeout:
        raise LockedError(_who_holds(path)) from None


def _who_holds(path: Path) -> str:
    return (
        f"{_read(_holder_path(path))} writes there already (lock {path}): wait until it is done, end it, or "
        "choose another folder with run="
    )


def _myself() -> dict[str, str]:
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
        found = json.loads(holder.read_text(encoding="utf-8"))
        return ", ".join(f"{name} {value}" for name, value in found.items())
    except (OSError, ValueError, AttributeError):
        return "another process"


def _holder_path(path: Path) -> Path:
    return path.with_suffix(".holder.json")
