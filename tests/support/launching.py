"""Stages and rank programs in real processes, started as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MPIRUN = Path(sys.executable).parent / "mpirun"
SMALL = (
    "solver.extent=[1.0]",
    "solver.resolution=24",
    "samples.train=4",
    "samples.valid=2",
    "samples.test=2",
    "samples.per_shard=2",
    "output.steps=3",
)


def environment(**extra: str) -> dict[str, str]:
    """Return the environment without variables of launchers and make: one thread a rank, root allowed."""
    launchers = ("OMPI_", "PMIX_", "PRTE_", "PMI_", "SLURM_", "MASTER_", "TORCHELASTIC_", "MAKE", "MFLAGS")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(launchers)}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        inherited.pop(name, None)
    return inherited | {
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


def run(
    command: list[str], timeout: float = 300, cwd: Path | None = None, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and return its result with any exit code."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env=environment(**extra),
        check=False,
    )


def mpi(ranks: int, *python_arguments: str) -> list[str]:
    """Return the command that starts `python ARGUMENTS` on several ranks."""
    return [
        str(MPIRUN),
        "--oversubscribe",
        "--bind-to",
        "none",
        "-n",
        str(ranks),
        sys.executable,
        *python_arguments,
    ]


def stage(
    name: str, *overrides: str, ranks: int = 0, timeout: float = 300, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m pipeline.NAME OVERRIDES`; without mpirun if `ranks` is 0."""
    arguments = ("-m", f"pipeline.{name}", *overrides)
    return run(mpi(ranks, *arguments) if ranks else [sys.executable, *arguments], timeout, **extra)


def succeeded(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """Return the result, after a check that the exit code is 0."""
    assert result.returncode == 0, f"{result.args}\n{result.stdout}\n{result.stderr}"
    return result
