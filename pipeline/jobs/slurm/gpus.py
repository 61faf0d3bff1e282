"""The GPUs that options of sbatch request, compared with the ranks of each job."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config.settings import JobName, Launcher, Stage
from simsurrogate.errors import UserError

#: The options of sbatch that request GPUs. The first option determines the number of a job.
_GPU_OPTIONS = ("gpus", "gpus-per-task", "gpus-per-node", "gpus-per-socket", "gres")
#: The programs that start all ranks of a node inside one step, which sees the GPUs of one task.
_MPIRUN = ("mpirun", "mpiexec", "prterun", "orterun", "mpiexec.hydra")


@dataclass(frozen=True)
class Request:
    """The GPUs of a job.

    Attributes:
        total: the GPUs on all nodes.
        text: the option that requests the GPUs, for messages.
        nodes: the number of nodes; 0 if Slurm chooses the number.
        is_exact: whether the total does not depend on the nodes that Slurm chooses.
    """

    total: int
    text: str
    nodes: int
    is_exact: bool


def check(launcher: Launcher, device: str) -> None:
    """Compare the requested GPUs with the ranks of each job. `device` is `training.device`.

    Train uses one GPU for each rank, and so does evaluate. The other stages compute on processors. GPUs that
    no rank uses cause a warning on stderr.

    Raises:
        UserError: train has more ranks than GPUs, or every rank of train would see the same GPU.
    """
    jobs: tuple[JobName, ...] = ("generate", "finish", "validate", "train", "evaluate")
    for job in jobs:
        if job == "finish" and launcher.parts == 1:
            continue
        options = launcher.sbatch.get("all", {}) | launcher.sbatch.get(job, {})
        request = requested(options, launcher.ranks[job])
        if request is None or request.total == 0:
            continue
        if job in ("train", "evaluate") and device != "cpu":
            _check_ranks(job, launcher, options, request)
        else:
            cause = (
                f"training.device={device}" if job in ("train", "evaluate") else "the stage has no GPU code"
            )
            _warn(job, request, f"{job} computes on processors: {cause}", f"Remove {request.text}")


def requested(options: Mapping[str, str | int | bool], ranks: int) -> Request | None:
    """Return the GPUs that options of sbatch request for a job of `ranks` tasks; None without such an option.

    The number of nodes follows from `nodes`, or from `ntasks-per-node`, or else is taken as 1.
    """
    nodes = _number(str(options.get("nodes", "")).partition("-")[0])
    if not nodes and (ranks_per_node := _number(options.get("ntasks-per-node", ""))):
        nodes = math.ceil(ranks / ranks_per_node)
    for name in _GPU_OPTIONS:
        count = _gres_gpus(str(options.get(name, ""))) if name == "gres" else _gpus(options.get(name))
        if count is None:
            continue
        factors = {
            "gpus": 1,
            "gpus-per-task": ranks,
            "gpus-per-socket": max(nodes, 1) * (_number(options.get("sockets-per-node", "")) or 1),
        }
        is_exact = name in ("gpus", "gpus-per-task") or (nodes > 0 and name != "gpus-per-socket")
        nodes_text = f" on {nodes} nodes" if nodes > 1 else ""
        total = count * factors.get(name, max(nodes, 1))
        return Request(total, f"{name}={options[name]}{nodes_text}", nodes, is_exact)
    return None


def _check_ranks(
    job: JobName, launcher: Launcher, options: Mapping[str, str | int | bool], request: Request
) -> None:
    """Compare the ranks with the GPUs of a stage that uses GPUs."""
    ranks = launcher.ranks[job]
    stage: Stage = "train" if job == "train" else "evaluate"
    program = next(iter(launcher.launch_line(stage)), "").rpartition("/")[2]
    key = f"launcher.sbatch.{job}"
    if "gpus-per-task" in options and program in _MPIRUN and ranks > 1:
        ranks_per_node = math.ceil(ranks / max(request.nodes, 1))
        raise UserError(
            f"{job}: {request.text} shows the GPUs of one task to all ranks of a node, because {program} "
            f"starts the {ranks} ranks. All ranks of a node have to see all its GPUs. Type "
            f"++{key}.gpus-per-node={ranks_per_node} in place of gpus-per-task, or start the ranks by srun"
        )
    if ranks > request.total and job == "train":
        remedy = f"Type launcher.ranks.train={request.total}, or request {ranks} GPUs"
        if request.is_exact:
            raise UserError(
                f"train has {ranks} ranks, and {request.text} requests {request.total} GPUs. Each rank needs "
                f"a GPU of its own. {remedy}"
            )
        print(
            f"warning: train has {ranks} ranks, and {request.text} requests {request.total} GPUs on one "
            f"node. Slurm chooses the number of nodes. {remedy}, with the number of nodes: ++{key}.nodes=N",
            file=sys.stderr,
            flush=True,
        )
    if ranks < request.total and request.is_exact:
        _warn(
            job,
            request,
            f"{job} has {ranks} ranks, and each rank uses one GPU",
            f"Type launcher.ranks.{job}={request.total}, or request {ranks} GPUs",
        )


def _warn(job: JobName, request: Request, cause: str, remedy: str) -> None:
    print(
        f"warning: {request.text} requests {request.total} GPUs, some of which {job} does not use. {cause}. "
        f"{remedy}",
        file=sys.stderr,
        flush=True,
    )


def _number(value: str | int | bool) -> int:
    """Return a positive integer, or 0 for other values."""
    return int(value) if str(value).isdigit() else 0


def _gpus(value: str | int | bool | None) -> int | None:
    """Return the number in Slurm's notation [TYPE:]N[,[TYPE:]N...]; None for another text."""
    counts = [part.rpartition(":")[2] for part in str(value).split(",")]
    return sum(map(int, counts)) if all(count.isdigit() for count in counts) else None


def _gres_gpus(value: str) -> int | None:
    """Return the GPUs of a node in gres=gpu[:TYPE][:N][,...]; None without GPUs."""
    counts = []
    for entry in value.split(","):
        name, *details = entry.removeprefix("gres/").removeprefix("gres:").partition("(")[0].split(":")
        if name == "gpu":
            counts.append(_number(details[-1]) if details and details[-1].isdigit() else 1)
    return sum(counts) if counts else None
