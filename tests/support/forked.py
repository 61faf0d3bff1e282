"""Stages in processes that a server forks after all imports, for tests that run hundreds of stages.

A forked stage differs from `python -m pipeline.STAGE` only in its start: the imports are done. The stage is a
process of its own, in a session of its own, with its own MPI.
"""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import pwd
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

STAGES = ("generate", "validate", "train", "evaluate")
#: The variable that names the program to use as `sys.executable` in a forked process.
PYTHON_VARIABLE = "TESTS_PYTHON"
_PRELOADED = ["tests.support.preloaded", "__main__"]
#: Each start of a process reads the exit codes of all ended processes. When two threads read the same exit
#: code, one of them gets 255.
_LOCK = threading.Lock()


def fork_server() -> ForkServerContext:
    """Return the context of the server. All tests of a process share one server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def start_server() -> None:
    """Start the server, whose imports take seconds, without waiting for it."""
    fork_server()
    forkserver.ensure_running()


@dataclass
class Outcome:
    """The end of a forked process: exit code (-9 after SIGKILL), output, and whether it had to be killed."""

    exit_code: int
    output: str
    seconds: float
    timed_out: bool = False


def start_forked(function: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """Start a function of a test module in a forked process."""
    process = fork_server().Process(target=function, args=arguments, daemon=False)
    with _LOCK:
        process.start()
    return process


def exit_code_within(process: ForkServerProcess, seconds: float | None = None) -> int | None:
    """Return the exit code of a process that ends within this time (default: at any time), or else None."""
    wait([process.sentinel], seconds)
    with _LOCK:
        return process.exitcode


def run_forked(
    function: Callable[..., None], output: Path, *arguments: object, timeout: float = 60
) -> Outcome:
    """Run `function(output, *arguments)` in a forked process to its end, at most `timeout` s."""
    start = time.monotonic()
    process = start_forked(function, output, *arguments)
    exit_code = exit_code_within(process, timeout)
    timed_out = exit_code is None
    if timed_out:
        process.kill()
        exit_code = exit_code_within(process)
    assert exit_code is not None
    text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    return Outcome(exit_code, text, time.monotonic() - start, timed_out)


def run_stage(
    name: str,
    *overrides: str,
    timeout: float,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    user: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a stage, or `chain`, in a forked process to its end, and return the result with any exit code.

    `user` is the name of the user of the process, by default the user of this process.

    Raises:
        subprocess.TimeoutExpired: the stage took longer than `timeout` s; it was killed.
    """
    command = [f"pipeline.{name}", *overrides]
    with tempfile.TemporaryDirectory() as folder:
        output, error_output = Path(folder, "stdout"), Path(folder, "stderr")
        arguments = (error_output, cwd or Path.cwd(), environment, user, name, overrides)
        outcome = run_forked(_stage_alone, output, *arguments, timeout=timeout)
        if outcome.timed_out:
            raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(
            command, outcome.exit_code, outcome.output, error_output.read_text(encoding="utf-8")
        )


def chain(output: Path, arguments: Sequence[str]) -> None:
    """Run all stages in order, each in a process of its own that ends with this process."""
    _prepare_process(output)
    for stage in STAGES:
        parent_id = os.getpid()
        stage_id = os.fork()
        if stage_id == 0:
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # as pipeline.jobs.local starts a stage
            if os.getppid() != parent_id:
                os._exit(1)
            exit_after(_run_stage, stage, arguments)
        if code := os.waitstatus_to_exitcode(os.waitpid(stage_id, 0)[1]):
            os._exit(code if code > 0 else 1)


def stage(
    output: Path, name: str, arguments: Sequence[str], memory_bytes: int = 0, forbidden: str = ""
) -> None:
    """Run a stage on a command line.

    Args:
        output: file for what the stage prints.
        name: the stage, or `chain`.
        arguments: overrides.
        memory_bytes: bound of the memory beyond that of the imports; 0 means no bound.
        forbidden: folder that the stage must not open; exit code 99 reports an access.
    """
    _prepare_process(output, memory_bytes, forbidden)
    exit_after(_run_stage, name, arguments)


def _stage_alone(
    output: Path,
    error_output: Path,
    cwd: Path,
    environment: Mapping[str, str],
    user: str,
    name: str,
    arguments: Sequence[str],
) -> None:
    _prepare_process(output)
    os.dup2(os.open(error_output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    if user:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    replace_python()
    exit_after(_run_stage, name, arguments)


def call(
    output: Path, function: Callable[..., object], memory_bytes: int, forbidden: str, *values: object
) -> None:
    """Call a function under the bounds of `stage`. A ValueError counts as a refusal with exit code 2."""
    _prepare_process(output, memory_bytes, forbidden)
    exit_after(_refuse_user_errors, function, *values)


def _refuse_user_errors(function: Callable[..., object], *values: object) -> None:
    from simsurrogate.errors import UserError

    try:
        function(*values)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _run_stage(name: str, arguments: Sequence[str]) -> None:
    from pipeline import cli

    sys.argv = [name, *arguments]
    module = importlib.import_module(f"pipeline.{name}")
    if name == "chain":
        module.main(list(arguments))
    else:
        # As in the last lines of the stages: train and evaluate print a table after a sweep.
        cli.main(module.run, getattr(module, "show_sweep", None))


def exit_after(function: Callable[..., None], *arguments: object) -> None:
    """Call a function with MPI, print an exception, and end this process as Python would."""
    from mpi4py import MPI

    exit_code = 0
    variables = dict(os.environ)
    # Open MPI's wheel reports one-sided communication over UCX as an error on machines without UCX.
    os.environ |= {"OMPI_MCA_osc_ucx_verbose": "-1"}
    if not any(name.startswith("PMIX_") for name in variables):
        # Without networks, MPI of one rank starts without a wait of one second.
        os.environ |= {"OMPI_MCA_btl": "self,sm"}
    try:
        MPI.Init_thread()
        os.environ.clear()
        os.environ.update(variables)
        restore_signals()  # Open MPI catches SIGHUP.
        function(*arguments)
    except SystemExit as system_exit:
        exit_code = system_exit.code if isinstance(system_exit.code, int) else system_exit.code is not None
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        exit_code = 1
    MPI.Finalize()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def replace_python() -> None:
    """Start other Python processes with the program that the environment names."""
    sys.executable = os.environ.get(PYTHON_VARIABLE, sys.executable)


def restore_signals() -> None:
    """Restore Python's reactions to the signals that end a process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _prepare_process(output: Path, memory_bytes: int = 0, forbidden: str = "") -> None:
    os.setsid()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    restore_signals()
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    os.environ["TERM"] = "dumb"
    if memory_bytes:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))
    if forbidden:
        sys.addaudithook(_refuse_access(forbidden))


def _refuse_access(forbidden: str) -> Callable[[str, tuple[object, ...]], None]:
    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if (
            event == "open"
            and isinstance(arguments[0], str | bytes)
            and forbidden in os.fsdecode(arguments[0])
        ):
            os.write(2, f"opened the forbidden file {os.fsdecode(arguments[0])}\n".encode())
            os._exit(99)

    return hook
