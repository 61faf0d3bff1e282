"""The environment of an external program: that of the stage, without the variables of its launcher.

A program that inherits the variables of the launcher of the stage would take itself for a rank of the stage.
An `mpirun` inside an MPI process fails or hangs for the same reason.
"""

from __future__ import annotations

import os

#: The prefixes of the variables that Open MPI, MPICH and Slurm set for each rank.
_PREFIXES = (
    *("OMPI_", "OPAL_", "PMIX_", "PRTE_", "PMI_", "HYDI_", "HYDRA_PROXY", "MPI_LOCAL", "MPIR_CVAR_CH3_PORT"),
    *("SLURM_STEP", "SLURM_SRUN_", "SRUN_", "SLURM_CPU_BIND", "SLURM_MEM_BIND", "SLURM_GPU_BIND"),
)
#: Further variables of a task of srun. The variables of the job stay, because srun needs them.
_NAMES = {
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_TASK_PID", "SLURM_GTIDS"),
    *("SLURM_LAUNCH_NODE_IPADDR", "SLURM_DISTRIBUTION", "SLURM_MPI_TYPE", "SLURM_PMIX_MAPPING_SERV"),
}
#: Parameters of Open MPI that its mpirun sets for each rank. All other parameters come from the user or site.
_PARAMETERS_OF_RANKS = {
    "OMPI_MCA_num_procs",
    "OMPI_MCA_initial_wdir",
    "OMPI_MCA_cpu_type",
    "OMPI_MCA_PREFIXES",
}
_KEPT_PREFIXES = ("OMPI_MCA_", "PMIX_MCA_", "PRTE_MCA_", "OMPI_ALLOW_RUN_AS_ROOT")


def program_environment() -> dict[str, str]:
    """Return the environment of this process without the variables that a launcher sets for its ranks."""
    return {name: value for name, value in os.environ.items() if not _is_of_rank(name)}


def _is_of_rank(name: str) -> bool:
    if name.startswith(_KEPT_PREFIXES):
        return name in _PARAMETERS_OF_RANKS
    return name.startswith(_PREFIXES) or name in _NAMES
