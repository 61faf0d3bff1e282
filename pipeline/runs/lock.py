"""Locks that allow one writer at a time. The system frees a lock when its holder dies, on any node."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.parallel.launch import node_name
from simsurrogate.documents import read_json
from simsurrogate.errors import UserError
from simsurrogate.files import is_read_only, remove_partials, writable_folder, write_whole
from simsurrogate.storage import storage_error

if TYPE_CHECKING:
    from filelock import FileLock

#: The exit code of a stage that found its output locked.
EXIT_CODE = 3

#: The longest wait for a lock that is held for seconds only, s.
_LONGEST_WAIT = 600

#: The longest wait of a requeued job for its own lock, s. The ranks wait for each other twice as long.
_LONGEST_RESTART_WAIT = 300


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
    # Imported in functions, because the import takes as long as the rest of a status command.
    from filelock import Timeout

    lock = _file_lock(path, timeout=0)
    try:
        with _explained_errors(path):
            _acquire(lock, path)
    except Timeout:
        raise LockedError(_locked_message(path, key)) from None
    try:
        for other_path in other_locks:
            _refuse_if_held(other_path, key)
        holder = _holder_path(path)
        if holder.exists():
            print(f"note: took over {path}, which {_holder_text(holder)} did not release", flush=True)
        remove_partials(path.parent, [holder.name])
        write_whole(holder, json.dumps(_process_description()))
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)
    finally:
        lock.release()


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """Wait until a lock is free, and hold the lock, see `hold`.

    Raises:
        LockedError: another process holds the lock for 10 minutes.
    """
    if _is_useless(path):
        yield
        return
    from filelock import Timeout

    lock = _file_lock(path, timeout=_LONGEST_WAIT)
    try:
        with _explained_errors(path):
            lock.acquire()
    except Timeout:
        raise LockedError(
            f"another process has held {path} for {_LONGEST_WAIT} s. The lock is free after seconds. End the "
            "process that hangs; `fuser` or `lsof` with the path of the lock shows it on its node"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    """Acquire a lock that is free, or that the former run of this requeued job holds for some minutes."""
    from filelock import Timeout

    try:
        lock.acquire()
    except Timeout:
        if not _is_held_by_former_run(path):
            raise
        print(
            f"note: {_holder_text(_holder_path(path))}, the former run of this requeued job, still holds "
            f"{path}. Waiting up to {_LONGEST_RESTART_WAIT} s",
            flush=True,
        )
        lock.acquire(timeout=_LONGEST_RESTART_WAIT)


def _is_held_by_former_run(path: Path) -> bool:
    job = _process_description().get("Slurm job")
    is_requeued = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    return is_requeued and job is not None and _holder(_holder_path(path)).get("Slurm job") == job


def _is_useless(path: Path) -> bool:
    """Return whether this process may write neither the folder of the lock nor the folder of the output."""
    folder = path.parent
    return is_read_only(folder.parent) and (is_read_only(folder) or not folder.exists())


def _file_lock(path: Path, timeout: float) -> FileLock:
    """Return the lock of a file; its folder and the file have the group's rights of the output's folder."""
    from filelock import FileLock

    is_new = not path.parent.exists()
    folder = writable_folder(path.parent)
    group_right = folder.parent.stat().st_mode & stat.S_IWGRP
    if is_new and group_right:
        folder.chmod(folder.stat().st_mode | group_right)
    return FileLock(path, timeout=timeout, mode=0o644 | group_right)


def _refuse_if_held(path: Path, key: str) -> None:
    from filelock import Timeout

    try:
        with _explained_errors(path), _file_lock(path, timeout=0):
            pass
    except Timeout:
        raise LockedError(_locked_message(path, key)) from None


@contextmanager
def _explained_errors(path: Path) -> Iterator[None]:
    """Replace an error of the system on a lock by one sentence; a time-out stays."""
    try:
        yield
    except TimeoutError:
        raise
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
