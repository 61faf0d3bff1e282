"""The device on which a rank computes."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from pipeline.parallel.launch import Launch
from simsurrogate.errors import UserError


def device_of(name: str, process: Launch) -> torch.device:
    """Return the device of a rank for `training.device`: `cpu`, `cuda` or `auto`.

    Raises:
        UserError: `cuda` is requested on a machine without CUDA devices.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            "training.device=cuda, but torch finds no CUDA device here. The device may be cpu, cuda or auto. "
            "Set training.device=cpu"
        )
    device = torch.device("cuda", process.local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def can_use_cuda(name: str, devices: Sequence[tuple[str, str | None]]) -> bool:
    """Return whether all ranks can compute on CUDA devices. NCCL needs one device for each rank.

    Args:
        name: `cpu`, `cuda` or `auto`.
        devices: the host of each rank, and the name of the rank's CUDA device or None.

    Raises:
        UserError: `cuda` is requested, and ranks would share a device.
    """
    is_enough = all(device is not None for _, device in devices) and len(set(devices)) == len(devices)
    if name == "cuda" and not is_enough:
        raise UserError(
            f"training.device=cuda, but {device_counts(devices)}. Each rank needs a device of its own. Start "
            "as many ranks as there are devices, or set training.device=cpu"
        )
    return name != "cpu" and is_enough


def unused_gpus(name: str, device: torch.device) -> str:
    """Return a warning for ranks that compute on processors although Slurm has allocated GPUs to the job.

    The text is empty for `training.device=cpu`, and for jobs without GPUs.
    """
    has_gpus = os.environ.get("SLURM_JOB_GPUS") or os.environ.get("SLURM_GPUS_ON_NODE", "0") != "0"
    if name == "cpu" or device.type != "cpu" or not has_gpus:
        return ""
    cause = "there are more ranks than visible devices"
    if not torch.cuda.is_available():
        cause = f"torch {torch.__version__} finds no CUDA device"
    return (
        f"this job has GPUs, but computes on processors: {cause}. One visible GPU for each rank is "
        "needed. Type training.device=cuda to refuse such a job, or training.device=cpu and request no GPUs"
    )


def use_deterministic_algorithms(device: torch.device) -> None:
    """Select deterministic algorithms on a GPU. On a processor PyTorch's algorithms are deterministic.

    PyTorch warns of an operation that has no deterministic algorithm.
    """
    if device.type == "cuda":
        # cuBLAS reads the variable at its first use.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def device_uuid(device: torch.device) -> str | None:
    """Return the UUID of a CUDA device, or None for a processor.

    The UUID also identifies a device if each rank sees only its own device.
    """
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None


def device_counts(devices: Sequence[tuple[str, str | None]]) -> str:
    """Return a sentence on the host that has the fewest devices per rank."""

    def counts(host: str) -> tuple[int, int]:
        names = [name for device_host, name in devices if device_host == host]
        return len(set(names) - {None}), len(names)

    def devices_per_rank(host: str) -> float:
        num_devices, num_ranks = counts(host)
        return num_devices / num_ranks

    host = min(dict(devices), key=devices_per_rank)
    num_devices, num_ranks = counts(host)
    return f"{host} has {num_ranks} ranks and {num_devices} CUDA devices for them"
