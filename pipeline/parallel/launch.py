"""Rank and number of ranks, as set by the launcher: torchrun, mpirun (Open MPI, MPICH) or srun."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.parallel import mpi
from simsurrogate.errors import UserError

if TYPE_CHECKING:
    from mpi4py import MPI

#: The environment variable of stages that the chain starts.
IN_CHAIN_VARIABLE = "SIMSURROGATE_IN_CHAIN"


@dataclass(frozen=True)
class Launch:
    """The position of a process among the processes that a launcher started."""

    launcher: str
    rank: int
    size: int
    local_rank: int


def detect() -> Launch:
    """Return the launcher, rank and size from the environment variables of the launcher.

    Without such variables the launcher is `none`, with one rank. A launcher that sets none of the known
    variables is detected through MPI, once `world` has been called.
    """
    for name, rank, size, local_rank in _LAUNCHER_VARIABLES:
        # `srun --mpi=pmi2` sets MPICH's variables, but none of MPICH's for the rank on the node.
        is_srun = "MPICH" in name and local_rank not in os.environ
        if rank in os.environ and size in os.environ and not is_srun and _has_started_ranks(name):
            local_rank_number = int(os.environ.get(local_rank, "0"))
            return Launch(name, int(os.environ[rank]), int(os.environ[size]), local_rank_number)
    mpi_module = sys.modules.get("mpi4py.MPI")
    if (
        mpi_module is not None
        and mpi_module.Is_initialized()
        and not mpi_module.Is_finalized()
        and mpi_module.COMM_WORLD.size > 1
    ):
        return Launch("MPI", mpi_module.COMM_WORLD.rank, mpi_module.COMM_WORLD.size, 0)
    return Launch("none", 0, 1, 0)


def rank_and_size() -> tuple[int, int]:
    """Return the rank of this process and the number of ranks, without MPI."""
    launch = detect()
    return launch.rank, launch.size


def node_name() -> str:
    """Return the name of this node; Slurm's name if Slurm started this process."""
    return os.environ.get("SLURMD_NODENAME") or platform.node()


def ranks_on_nodes(names: list[str]) -> dict[str, int]:
    """Return the number of ranks on each node, from the `node_name` of every rank."""
    return dict(sorted(Counter(names).items()))


def world() -> MPI.Intracomm:
    """Return the MPI communicator of all ranks of this run.

    Raises:
        UserError: the launcher started more ranks than MPI sees, so each rank would do the whole work.
    """
    mpi.initialise(is_alone=detect().launcher == "none")
    from mpi4py import MPI

    launch, communicator = detect(), MPI.COMM_WORLD
    if communicator.size != launch.size:
        library = MPI.Get_library_version().split("\n")[0].strip("\x00 ")
        raise UserError(
            f"{launch.launcher} started {launch.size} ranks, but MPI ({library}) sees a world of "
            f"{communicator.size}. Both numbers must be equal, or each rank would do all the work. Start "
            "with the mpirun of this MPI library, or install mpi4py for the MPI of this launcher"
        )
    return communicator


def _has_started_ranks(launcher: str) -> bool:
    """Return whether the launcher has started ranks.

    Slurm sets its variables in batch scripts too. A step of one task is a shell (`srun --pty bash`), whose
    variables also reach the jobs that the user submits from the shell.
    """
    if launcher != "srun":
        return True
    is_special = int(os.environ.get("SLURM_STEP_ID") or _FIRST_SPECIAL_STEP) >= _FIRST_SPECIAL_STEP
    num_tasks = os.environ.get("SLURM_STEP_NUM_TASKS", os.environ["SLURM_NTASKS"])
    return not is_special and num_tasks != "1"


#: Step numbers from here on denote an interactive shell, a batch script, and others (slurm.h).
_FIRST_SPECIAL_STEP = 0xFFFFFFFA

#: Launchers, with their variables of rank, number of ranks, and rank on the node.
_LAUNCHER_VARIABLES = (
    ("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("mpirun (Open MPI)", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("mpirun (MPICH)", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    ("srun", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
)
