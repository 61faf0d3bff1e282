"""The parent process of an external program, which ends the program and everything that it started.

    python -I -S supervisor.py FOLDER SECONDS PROGRAM ARGUMENT...

The program runs in FOLDER for at most SECONDS, with its output in `stdout.txt` and `stderr.txt`. The end of
standard input means that the stage has ended or wants the program to end. Then the supervisor also removes
FOLDER. All descendants of the program are ended, also those with a process group of their own, such as the
ranks of mpirun. The supervisor prints one JSON object: `exit_code`, `time_limit`, or `error` of the start.

This file uses the standard library alone, so that it starts in milliseconds.
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


def main(folder: str, seconds: float, command: list[str]) -> None:
    """Run the command, print the outcome, and leave no process behind."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    signal.signal(
        signal.SIGUSR1, signal.SIG_DFL
    )  # A stage may ignore this signal, and children inherit that.
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    deadline = time.monotonic() + seconds
    try:
        with (
            open(os.path.join(folder, "stdout.txt"), "wb") as stdout,
            open(os.path.join(folder, "stderr.txt"), "wb") as stderr,
        ):
            program = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
    except OSError as error:
        print(json.dumps({"error": f"{command[0]}: {error.strerror}"}))
        return
    outcome: dict[str, object] = {"time_limit": seconds}
    is_wanted = True
    while program.poll() is None and (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([sys.stdin.fileno(), woken], [], [], min(left, 60.0))
        if woken in readable:
            os.read(woken, 4096)
        if sys.stdin.fileno() in readable and not os.read(sys.stdin.fileno(), 4096):
            is_wanted = False
            break
    if program.returncode is not None:
        outcome = {"exit_code": program.returncode}
    end_descendants()
    if is_wanted:
        print(json.dumps(outcome))
    else:
        shutil.rmtree(folder, ignore_errors=True)


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
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
