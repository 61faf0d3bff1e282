"""Heartbeats between the ranks: a rank that hangs ends all ranks, with a message that names the rank.

Each rank sends UDP packets to the next rank and listens to the previous rank, in a thread. MPI itself would
wait forever for a stopped rank.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpi4py import MPI

#: The time without heartbeats after which a rank counts as hanging.
TIMEOUT = timedelta(minutes=10)
_INTERVAL_SECONDS = 1.0
_BEAT, _END = b"beat", b"end"


@contextmanager
def watch(world: MPI.Intracomm) -> Iterator[None]:
    """End this process, and with it all ranks, if the previous rank hangs; on all ranks together.

    A solver may hold Python's interpreter lock for any time on a node with other ranks, where the system
    reports a stopped process. On other nodes a rank must let the thread run once in `TIMEOUT`. A rank whose
    packets never arrive, for example because of a firewall, is not watched.
    """
    if world.size == 1:
        yield
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.bind(("", 0))
        connection.setblocking(False)
        members = world.allgather((socket.gethostname(), os.getpid(), connection.getsockname()[1]))
        end = threading.Event()
        arguments = (connection, members, world.rank, end)
        thread = threading.Thread(target=_send_and_listen, args=arguments, daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()


def _send_and_listen(
    connection: socket.socket, members: list[tuple[str, int, int]], rank: int, end: threading.Event
) -> None:
    """Exchange heartbeats with the neighbours until `end` is set."""
    previous_rank, next_rank = (rank - 1) % len(members), (rank + 1) % len(members)
    own_host, (host, _, port) = members[rank][0], members[next_rank]
    address = ("127.0.0.1" if host == own_host else host, port)
    is_heard, num_silent = False, 0
    while True:
        is_last = end.is_set()
        # A packet may be lost, so the last packet is repeated.
        for _ in range(3 if is_last else 1):
            with suppress(OSError):
                connection.sendto(_END if is_last else _BEAT, address)
        if is_last:
            return
        packets = _received(connection)
        if _END in packets:
            previous_rank = -1
        # The loop counts its own rounds, because the clock also runs while the whole job is suspended.
        is_heard, num_silent = is_heard or bool(packets), 0 if packets else num_silent + 1
        is_silent = is_heard and num_silent * _INTERVAL_SECONDS >= TIMEOUT.total_seconds()
        if previous_rank >= 0 and is_silent and _hangs(members[previous_rank], own_host):
            _end_process(rank, previous_rank, members)
        end.wait(_INTERVAL_SECONDS)


def _received(connection: socket.socket) -> list[bytes]:
    """Return all packets that have arrived."""
    packets = []
    with suppress(OSError):
        while True:
            packets.append(connection.recv(16))
    return packets


def _hangs(member: tuple[str, int, int], own_host: str) -> bool:
    """Return whether a silent rank hangs; on this node only a stopped process counts as hanging."""
    host, process, _ = member
    if host != own_host or not sys.platform.startswith("linux"):
        return True
    with suppress(OSError):
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return state in "Tt"
    return False


def _end_process(rank: int, silent_rank: int, members: list[tuple[str, int, int]]) -> None:
    """End this process with a message; no exception reaches the main thread, which waits in MPI."""
    host, process, _ = members[silent_rank]
    message = (
        f"[rank {rank} of {len(members)}] error: rank {silent_rank} (process {process} on {host}) has been "
        f"silent for {TIMEOUT}. All ranks must run. Run the same command again: finished work is kept"
    )
    print(message, file=sys.stderr, flush=True)
    os._exit(1)
