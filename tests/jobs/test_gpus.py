"""GPUs that options of sbatch request, compared with the ranks of a job before its submission."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import chain
from pipeline.config.settings import Launcher
from pipeline.jobs.slurm import gpus
from simsurrogate.errors import UserError
from tests.support.in_process import run_command_line


def launcher(train: dict[str, object], ranks: int = 8, **options: object) -> Launcher:
    return Launcher.model_validate(
        {"name": "slurm", "ranks": {"train": ranks}, "sbatch": {"train": train}, **options}
    )


@pytest.mark.parametrize(
    ("options", "total"),
    [
        ({"gpus": 8}, 8),
        ({"gpus": "a100:6"}, 6),
        ({"gpus": "a100:6,v100:2", "gpus-per-node": 4}, 8),
        ({"gpus-per-node": 4, "nodes": 2}, 8),
        ({"gpus-per-node": "a100:4", "nodes": "2-4"}, 8),
        ({"gpus-per-node": 4, "ntasks-per-node": 4}, 8),
        ({"gpus-per-task": 1}, 8),
        ({"gpus-per-socket": 2, "sockets-per-node": 2, "nodes": 2}, 8),
        ({"gres": "gpu:a100:4,nvme:100", "nodes": 2}, 8),
        ({"gres": "gpu:4(S:0-1)", "nodes": 2}, 8),
        ({"gres": "gpu"}, 1),
        ({"gres": "nvme:100"}, None),
        ({"nodes": 2}, None),
    ],
)
def test_the_number_of_requested_gpus(options: dict[str, str | int | bool], total: int | None) -> None:
    request = gpus.requested(options, ranks=8)
    assert (request.total if request else None) == total


@pytest.mark.parametrize(
    "options",
    [{"gpus": 8}, {"gpus-per-node": 4, "nodes": 2}, {"gres": "gpu:4", "nodes": 2}, {"nodes": 2}, {}],
)
def test_one_gpu_for_each_rank_is_accepted(
    options: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    gpus.check(launcher(options), "auto")
    assert capsys.readouterr().err == ""


def test_more_ranks_than_gpus_are_refused_with_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    expected = (
        "train has 8 ranks, and gpus-per-node=2 on 2 nodes requests 4 GPUs. .* Type launcher.ranks.train=4, "
        "or request 8 GPUs"
    )
    with pytest.raises(UserError, match=expected):
        gpus.check(launcher({"gpus-per-node": 2, "nodes": 2}), "auto")
    # Slurm may choose several nodes.
    gpus.check(launcher({"gpus-per-node": 4}), "auto")
    assert (
        "warning: train has 8 ranks, and gpus-per-node=4 requests 4 GPUs on one node"
        in capsys.readouterr().err
    )


def test_a_chain_compares_gpus_and_ranks_before_its_submission(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("launcher=slurm", "launcher.ranks.train=4", "++launcher.sbatch.train.gres='gpu:a100:2'")
    arguments = ("experiment=smoke", f"run={tmp_path}/run", "dry_run=true")
    assert run_command_line(chain.run, *arguments, *options, "++launcher.sbatch.train.nodes=1") == 2
    assert "error: train has 4 ranks, and gres=gpu:a100:2 requests 2 GPUs. " in capsys.readouterr().err
    assert run_command_line(chain.run, *arguments, *options, "++launcher.sbatch.train.nodes=2") == 0


def test_unused_gpus_cause_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    cases = (
        (launcher({"gpus": 8}, ranks=2), "auto", "train has 2 ranks, and each rank uses one GPU"),
        (launcher({"gpus": 8}), "cpu", "train computes on processors: training.device=cpu"),
        (launcher({}, sbatch={"evaluate": {"gpus": 4}}), "auto", "Type launcher.ranks.evaluate=4"),
        (launcher({}, sbatch={"generate": {"gres": "gpu:1"}}), "auto", "generate computes on processors"),
    )
    for slurm, device, message in cases:
        gpus.check(slurm, device)
        assert message in capsys.readouterr().err


def test_a_gpu_for_each_task_is_refused_under_mpirun() -> None:
    with pytest.raises(
        UserError, match=r"mpirun starts the 8 ranks.* Type \+\+launcher.sbatch.train.gpus-per-node=4"
    ):
        gpus.check(launcher({"gpus-per-task": 1, "nodes": 2}), "auto")
    gpus.check(launcher({"gpus-per-task": 1}, mpirun={"train": ["srun"]}), "auto")
    gpus.check(launcher({"gpus-per-task": 1}, ranks=1), "auto")
