"""The identity of a process in a file, and whether that process still lives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pipeline.parallel.launch import node_name


def process_identity() -> dict[str, object]:
    """Return the node, the boot of the node, and the id, the user and the start time of this process.

    The boot and the start time are absent on systems without /proc.
    """
    identity: dict[str, object] = {"host": node_name(), "process": os.getpid(), "user": os.getuid()}
    boot, start = _boot(), _start_time(os.getpid())
    return identity | ({"boot": boot, "process_start": start} if boot and start else {})


def is_dead(identity: Mapping[str, object]) -> bool:
    """Return whether a process is known to be dead.

    Processes of other nodes are not known. On many clusters /proc hides the processes of other users.
    """
    if "boot" not in identity or identity.get("host") != node_name():
        return False
    if identity["boot"] != _boot():
        return True
    hides_other_users = _start_time(1) is None
    if hides_other_users and identity.get("user") != os.getuid():
        return False
    return _start_time(identity.get("process")) != identity.get("process_start")


def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _start_time(process: object) -> str | None:
    """Return the start time of a live process in clock ticks; a zombie is dead."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
