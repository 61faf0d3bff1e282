"""Stages and programs in real processes, started as by a user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import forked
from tests.support.ranks import server

MPIRUN = Path(sys.executable).parent / "mpirun"
SMALL_DATASET = (
    "solver.extent=[1.0]",
    "solver.resolution=24",
    "storage.max_error=0.1",
    "samples.train=4",
    "samples.valid=2",
    "samples.test=2",
    "samples.per_shard=2",
    "output.steps=3",
)


def environment(**extra_variables: str) -> dict[str, str]:
    """Return the environment without variables of launchers and make, for one thread per rank."""
    prefixes = ("OMPI_", "PMIX_", "PRTE_", "PMI_", "SLURM_", "MASTER_", "TORCHELASTIC_", "MAKE", "MFLAGS")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        variables.pop(name, None)
    return variables | {
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        # Waiting ranks leave the two cores to the ranks and workers that compute.
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "PYTHONUNBUFFERED": "1",
        **extra_variables,
    }


def run(
    command: list[str], timeout: float = 300, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and return the result with any exit code."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env=environment(**variables),
        check=False,
    )


def mpi_command(ranks: int, *python_arguments: str) -> list[str]:
    """Return the command that starts `python ARGUMENTS` on several ranks."""
    return [*_launch_line(ranks), sys.executable, *python_arguments]


def forked_mpi_command(ranks: int, *module_and_arguments: str) -> list[str]:
    """Return the command that runs `python -m MODULE ARGUMENTS` on ranks forked after all imports."""
    return [*_launch_line(ranks), *server.rank_command(*module_and_arguments)]


def _launch_line(ranks: int) -> list[str]:
    return [str(MPIRUN), "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]


def run_stage(
    name: str,
    *overrides: str,
    ranks: int = 0,
    timeout: float = 300,
    cwd: Path | None = None,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run a stage on several ranks, or on one rank and without mpirun if `ranks` is 0.

    Without `variables` the processes are forked after all imports.
    """
    if not ranks and not variables:
        return forked.run_stage(name, *overrides, timeout=timeout, cwd=cwd, environment=environment())
    arguments = ("-m", f"pipeline.{name}", *overrides)
    if not ranks:
        return run([sys.executable, *arguments], timeout, cwd, **variables)
    command = mpi_command(ranks, *arguments) if variables else forked_mpi_command(ranks, *arguments)
    return run(command, timeout, cwd, **variables)


def require_success(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """Check that the exit code is 0, and return the result."""
    assert result.returncode == 0, f"{result.args}\n{result.stdout}\n{result.stderr}"
    return result


def remove_folders_of_dead_launchers() -> None:
    """Remove the session folders of killed processes of Open MPI.

    The name of such a folder ends with the number of the process. Open MPI does not start a process with the
    same number while the folder exists, and Linux may use only 32768 numbers.
    """
    for folder in Path(tempfile.gettempdir()).glob("ompi.*"):
        if not Path("/proc", folder.suffix[1:]).exists():
            shutil.rmtree(folder, ignore_errors=True)
