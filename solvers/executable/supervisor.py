"""The parent process of an external program, which ends the program and everything that it started.

    python -I -S supervisor.py

The first line of standard input is a JSON object with the `command`, the `folder`, the texts of `inputs` by
file name, and the time limit in `seconds`. The supervisor creates the folder, in which the program runs with
its output in `stdout.txt` and `stderr.txt`. At the end of the program the supervisor prints one JSON object:
`exit_code`, `time_limit`, or `error` of the start. The end of standard input means that the stage has died or
needs the program and the folder no longer. Then the supervisor ends the program and removes the folder.

All descendants of the program are ended, also those with a process group of their own, such as the ranks of
mpirun. This file uses the standard library alone, so that it starts in milliseconds.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

#: The time (s) between SIGTERM and SIGKILL. Launchers such as mpirun and srun end their ranks meanwhile.
GRACE_SECONDS = 3.0
_SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux: orphans become children of this process.


def main() -> None:
    """Run the program of the first line of standard input, and leave neither processes nor files behind."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    # A stage may ignore this signal, and its children inherit that.
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return
    request = json.loads(line)
    try:
        outcome = _outcome(request)
        if outcome is not None:
            print(json.dumps(outcome), flush=True)
            while os.read(sys.stdin.fileno(), 4096):
                pass
    finally:
        end_descendants()
        shutil.rmtree(request["folder"], ignore_errors=True)


def _outcome(request: dict) -> dict[str, object] | None:  # type: ignore[type-arg]
    """Run the program; return its outcome, or None if the stage needs it no longer."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    folder = request["folder"]
    try:
        os.mkdir(folder, 0o700)
        for name, text in request["inputs"].items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        with (
            open(os.path.join(folder, "stdout.txt"), "wb") as stdout,
            open(os.path.join(folder, "stderr.txt"), "wb") as stderr,
        ):
            program = subprocess.Popen(
                request["command"], cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
    except OSError as error:
        return {"error": str(error)}
    deadline = time.monotonic() + request["seconds"]
    while program.poll() is None:
        left = deadline - time.monotonic()
        if left <= 0:
            end_descendants()
            return {"time_limit": True}
        readable, _, _ = select.select([sys.stdin.fileno(), woken], [], [], min(left, 60.0))
        if woken in readable:
            os.read(woken, 4096)
        if sys.stdin.fileno() in readable and not os.read(sys.stdin.fileno(), 4096):
            return None
    end_descendants()
    return {"exit_code": program.returncode}


def end_descendants() -> None:
    """End all descendants of this process: SIGTERM first, and SIGKILL after the grace time."""
    deadline = time.monotonic() + GRACE_SECONDS
    chosen_signal = signal.SIGTERM
    signalled: set[int] = set()
    while processes := _descendants():
        if time.monotonic() > deadline:
            chosen_signal, signalled = signal.SIGKILL, set()
        for process in processes - signalled:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, chosen_signal)
        signalled |= processes
        time.sleep(0.01)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _descendants() -> set[int]:
    """Return the numbers of all living processes below this process."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                # The name of a program stands in parentheses and may hold spaces and parentheses.
                state, parent, *_ = file.read().rpartition(b")")[2].split()
                if state != b"Z" or int(parent) == os.getpid():
                    children.setdefault(int(parent), []).append(int(name))
    found, pending = set(), [os.getpid()]
    while pending:
        new = children.get(pending.pop(), [])
        found.update(new)
        pending += new
    return found


if __name__ == "__main__":
    main()
