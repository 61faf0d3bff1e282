"""The server that forks ranks for the clients that mpirun starts."""

from __future__ import annotations

import fcntl
import os
import runpy
import shlex
import signal
import socket
import socketserver
import struct
import sys
import tempfile
import threading
import warnings
from contextlib import suppress
from functools import cache
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from tests.support import forked

_PYTHON = """\
#!/bin/sh
case "$1 $2 $3" in
"-P -m pipeline."*) shift; exec {client} "$@" ;;
"-m pipeline."*) exec {client} "$@" ;;
esac
exec {python} "$@"
"""
_CLIENT = Path(__file__).with_name("client.py")
#: The command of fcntl that chooses the signal for new data or the end of a connection, from Linux's fcntl.h.
_F_SETSIG = 10


def rank_command(*module_and_arguments: str) -> list[str]:
    """Return the command of a rank that runs as `python -m MODULE ARGUMENTS`."""
    return [sys.executable, "-I", "-S", str(_CLIENT), _address(), *module_and_arguments]


def write_python(folder: Path) -> Path:
    """Write a program that runs as Python, but forks `python -m pipeline.MODULE` after all imports.

    A forked module starts Python with the program that `forked.PYTHON_VARIABLE` names.
    """
    program = folder / "python"
    if program.exists():
        # Jobs may run it, and Linux does not start a program that is open for writing.
        return program
    program.write_text(_PYTHON.format(python=sys.executable, client=shlex.join(rank_command())))
    program.chmod(0o755)
    return program


@cache
def _address() -> str:
    """Start the server in a thread of this process, and return the path of its socket."""
    address = f"{tempfile.mkdtemp(prefix='ranks-')}/socket"
    server = socketserver.ThreadingUnixStreamServer(address, _Starter)
    server.daemon_threads = True
    # Each user may connect. A rank has the user of its client.
    Path(address).chmod(0o666)
    Path(address).parent.chmod(0o711)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return address


class _Starter(socketserver.BaseRequestHandler):
    """One rank: send the client the number of its process, then its exit code."""

    def handle(self) -> None:
        length, standard_streams, _, _ = socket.recv_fds(self.request, 8, 3)
        request = self.request.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
        credentials = self.request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, user, group = struct.unpack("3i", credentials)
        descriptors = [DupFd(number) for number in (self.request.fileno(), *standard_streams)]
        text = request.decode(errors="surrogateescape")
        process = forked.start_forked(_run_as_rank, descriptors, user, group, text)
        for number in standard_streams:
            os.close(number)
        with suppress(OSError):  # the client may be dead
            self.request.sendall((process.pid or 0).to_bytes(8, "big"))
        exit_code = forked.exit_code_within(process) or 0
        with suppress(OSError):
            self.request.sendall(exit_code.to_bytes(8, "big", signed=True))


def _run_as_rank(descriptors: list[Any], user: int, group: int, request: str) -> None:
    """Become the rank of a client, and run its module as a main program with MPI."""
    folder, ignored, *words = request.split("\0")
    end = words.index("")
    (option, module, *arguments), variables = words[:end], words[end + 1 :]
    assert option == "-m"
    connection, *standard_streams = (descriptor.detach() for descriptor in descriptors)
    _die_with(connection)
    if user != os.getuid():
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    if not ignored:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    for number, descriptor in enumerate(standard_streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variable.split("=", 1) for variable in variables)
    forked.replace_python()
    sys.argv = [module, *arguments]
    forked.exit_after(_run_as_main, module)


def _die_with(connection: int) -> None:
    """Let Linux kill this process at the end of a connection."""
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)


def _run_as_main(module: str) -> None:
    with warnings.catch_warnings():
        # The module was imported before.
        warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
