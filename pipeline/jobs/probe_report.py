"""The report of one rank of a probe, a JSON file in the folder of the probe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

#: The file of the submitter, whose content shows that a node sees the submitter's folder.
TOKEN_NAME = "token"  # noqa: S105 - no password
#: The lock that the job holds while its ranks try to take it.
LOCK_NAME = "locks/probe.lock"
#: The pattern of the names of the reports.
REPORT_PATTERN = "rank-*.json"
#: The beginning of a line in the log: a rank that cannot write its report prints the report.
PRINTED_REPORT = "report of a rank: "


@dataclass(frozen=True)
class RankReport:
    """The findings of one rank. A rank writes its report again before each phase that may hang.

    Attributes:
        rank: the number of the rank by the launcher's variables.
        launcher: the launcher by its variables, or `none`.
        node: Slurm's name of the node.
        process: the number of the process.
        num_nodes: the number of nodes of the job.
        threads: the threads that the job asks of the rank.
        cores: the processors that the rank may use (Cpus_allowed_list).
        folder_error: why the rank cannot use the run folder; empty if it can.
        lock_error: why the lock of the job does not hold here; empty if it holds.
        phase: the phase that the rank has begun: MPI, messages, torch or end.
        world_size: the number of ranks in MPI's world; 0 before MPI has started.
        mpi_library: the first line of the MPI library's version.
        torch_version: the version of torch.
        visible_devices: CUDA_VISIBLE_DEVICES; None if it is not set.
        devices: the UUIDs of the CUDA devices that torch sees.
        own_device: the UUID of the device that the rank would train on; empty without a device.
        has_gpus: whether Slurm has given GPUs to the job on this node.
    """

    rank: int
    launcher: str
    node: str
    process: int
    num_nodes: int
    threads: int
    cores: list[int]
    folder_error: str
    lock_error: str
    has_gpus: bool
    phase: str
    world_size: int = 0
    mpi_library: str = ""
    torch_version: str = ""
    visible_devices: str | None = None
    devices: list[str] = field(default_factory=list)
    own_device: str = ""

    @property
    def path_name(self) -> str:
        """The name of the file of this report."""
        return REPORT_PATTERN.replace("*", f"{self.node}-{self.process}")


def token_path(folder: Path) -> Path:
    """Return the path of the submitter's file."""
    return folder / TOKEN_NAME


def lock_path(folder: Path) -> Path:
    """Return the path of the lock that the job holds."""
    return folder / LOCK_NAME
