"""The process that mpirun starts in place of a rank: `python -I -S client.py SOCKET -m MODULE ARGUMENTS`.

It passes signals to the rank, ends as the rank ends, and the rank ends with it. A rank whose client ignores
SIGUSR1 ignores this signal, too. The client imports little, because each rank starts one.
"""

import os
import signal
import socket
import sys

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def main(server: str, *arguments: str) -> int:
    """Let the server fork the rank, and return its exit code."""
    variables = (f"{name}={value}" for name, value in os.environ.items())
    ignored = "ignored" if signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN else ""
    request = "\0".join([os.getcwd(), ignored, *arguments, "", *variables]).encode(errors="surrogateescape")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server)
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(request)
        rank = int.from_bytes(connection.recv(8, socket.MSG_WAITALL), "big")
        for number in _SIGNALS:
            signal.signal(number, lambda received, _: os.kill(rank, received))
        exit_code = int.from_bytes(connection.recv(8, socket.MSG_WAITALL), "big", signed=True)
    if exit_code >= 0:
        return exit_code
    if -exit_code != signal.SIGKILL:
        signal.signal(-exit_code, signal.SIG_DFL)
    os.kill(os.getpid(), -exit_code)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
