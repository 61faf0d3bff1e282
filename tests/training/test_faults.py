"""Faults of data and devices: skipped steps, infinite weights, and errors that explain a lack of memory."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import train
from pipeline.training import checkpoint
from pipeline.training.batches.order import BatchOrder
from simsurrogate.errors import UserError
from surrogates.contract import Batch
from surrogates.fno import FNO
from tests.parallel.test_ranks import TORCHRUN
from tests.support.launching import forked_mpi_command, run, run_stage
from tests.support.trainings.training_cases import (
    TINY_TRAINING,
    generate_dataset,
    read_settings,
    tiny_arguments,
    train_model,
)
from tests.training.conftest import poison


def test_steps_with_a_gradient_that_is_not_finite_are_skipped_and_counted(
    poisoned_dataset: Path, tmp_path: Path
) -> None:
    folder = train_model(tmp_path, poisoned_dataset)
    newest_checkpoint = checkpoint.load(checkpoint.paths(folder / "checkpoints")[-1])
    # Each trajectory of seven frames has six windows. Two windows hold the poisoned frame.
    order = BatchOrder(12 * 6, 4, seed=0, rank=0, size=1)
    expected_steps = [step + 1 for step in range(30) if {32, 33} & set(order.global_batch(step).tolist())]
    skipped_steps = newest_checkpoint.metadata["skipped"]
    assert skipped_steps == expected_steps
    assert len(expected_steps) > 1
    rows = np.loadtxt(folder / "log.csv", delimiter=",", skiprows=1)
    assert rows[:, 4].tolist() == [sum(step <= row for step in expected_steps) for row in (10, 20, 30)]
    assert np.isfinite(rows).all()
    assert all(tensor.isfinite().all() for tensor in newest_checkpoint.tensors.values())
    record = json.loads((tmp_path / "records" / "train-000.json").read_text())
    assert record["skipped_steps"] == skipped_steps


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.fault(
    "the loss is NaN in too many steps on {ranks} ranks",
    cause="NaN in one frame of the data",
    result="train ends with the trajectory and the frames",
    lost="nothing",
)
def test_too_many_skipped_steps_end_the_run_and_name_the_windows(
    ranks: int, poisoned_dataset: Path, tmp_path: Path
) -> None:
    # The training continues from its checkpoints with a larger limit of skipped steps.
    limit = "training.max_skipped_steps=1"
    if ranks == 1:
        with pytest.raises(ValueError, match="norm is nan") as error_info:
            train_model(tmp_path, poisoned_dataset, limit)
        message = str(error_info.value)
    else:
        result = run_stage("train", *tiny_arguments(tmp_path, poisoned_dataset, limit), ranks=ranks)
        assert result.returncode == 2, result.stderr
        message = " ".join(result.stderr.split())
    assert f"At most {limit} steps may be skipped" in message
    assert "Windows whose loss is not finite: trajectory 5, frames " in message
    assert "frames 2 to 3" in message or "frames 3 to 4" in message
    assert "trajectory 4" not in message
    assert not (tmp_path / "models" / "fno" / "model.json").exists()
    assert (train_model(tmp_path, poisoned_dataset) / "model.json").is_file()


def test_windows_are_named_for_a_surrogate_that_samples_points(tmp_path: Path) -> None:
    harmonics = (
        "solver.initial.kind=harmonics",
        "solver.initial.count=2",
        "solver.diffusivity.kind=constant",
    )
    dataset = generate_dataset(tmp_path, *harmonics)
    poison(dataset, trajectory=5, frame=3)
    sizes = [override for override in TINY_TRAINING if "modes" not in override]
    options = ("surrogate=mlp", *sizes, "training.unroll=2", "training.max_skipped_steps=0")
    with pytest.raises(ValueError, match="Windows whose loss is not finite: trajectory 5, frames"):
        train.run(read_settings(f"run={tmp_path}", *options))


def test_weights_that_become_infinite_end_the_run(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"norm is nan at step 3, after .* at 2\. .*learning_rate=1e\+20"):
        train_model(tmp_path, dataset, "training.learning_rate=1e20", "training.max_skipped_steps=1")


@pytest.mark.parametrize(
    ("option", "finding", "num_runs"),
    [
        # A second run begins with the last checkpoint.
        ("training.noise=1e300", "all 10 steps up to the smallest error on the valid split were skipped", 2),
        ("training.learning_rate=1e300", "no rollout error on the valid split is finite in 10 steps", 1),
    ],
)
def test_weights_without_a_finite_error_or_a_step_are_not_saved(
    option: str, finding: str, num_runs: int, dataset: Path, tmp_path: Path
) -> None:
    # As many steps may be skipped as the training has.
    options = ("training.steps=10", "training.max_skipped_steps=10", option)
    for _ in range(num_runs):
        with pytest.raises(UserError, match=f"{finding}.*Only trained weights"):
            train_model(tmp_path, dataset, *options)
    assert not list((tmp_path / "models" / "fno").glob("model.*"))


def test_an_ensemble_of_untrained_members_is_not_saved(dataset: Path, tmp_path: Path) -> None:
    options = ("training.steps=10", "training.max_skipped_steps=10", "training.noise=1e300", "ensemble=2")
    with pytest.raises(UserError, match="member 0: all 10 steps"):
        train_model(tmp_path, dataset, *options)
    assert not list((tmp_path / "models" / "fno").rglob("model.*"))


def test_lack_of_memory_is_explained_with_the_batch(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original_forward, call_numbers = FNO.forward, itertools.count(1)

    def forward_out_of_memory(self: FNO, batch: Batch) -> dict[str, torch.Tensor]:
        if next(call_numbers) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return original_forward(self, batch)

    monkeypatch.setattr(FNO, "forward", forward_out_of_memory)
    with pytest.raises(ValueError, match="cpu is out of memory with 8 windows of 2 frames") as error_info:
        train_model(tmp_path, dataset, "training.batch_size=8")
    assert "training.batch_size=8 on 1 ranks" in str(error_info.value)
    assert "Raise training.gradient_accumulation_steps" in str(error_info.value)


@pytest.mark.fault(
    "a rank is out of memory",
    cause="the forward pass of rank 1 of 2 raises the exception of the allocator",
    result="all ranks end; the message has the batch size",
    lost="the steps since the last checkpoint",
)
def test_lack_of_memory_on_the_last_rank_ends_all_ranks(dataset: Path, tmp_path: Path) -> None:
    # The forward of a surrogate raises the exception of the device.
    arguments = tiny_arguments(tmp_path, dataset, "training.batch_size=8")
    result = run(forked_mpi_command(2, "-m", "tests.faults.train_out_of_memory", *arguments), timeout=60)
    assert result.returncode == 2, result.stderr
    message = " ".join(result.stderr.split())
    assert "cpu is out of memory with 4 windows of 2 frames at once" in message
    assert "training.batch_size=8 on 2 ranks" in message
    assert "Traceback" not in message


@pytest.mark.fault(
    "a rank of torchrun fails",
    cause="the forward pass of rank 1 of 2 raises an exception; rank 0 loses its connection",
    result="the record names the rank and its exception",
    lost="the steps since the last checkpoint",
)
def test_the_record_of_torchrun_names_the_rank_that_failed(dataset: Path, tmp_path: Path) -> None:
    arguments = tiny_arguments(tmp_path, dataset, "training.batch_size=8")
    program = (sys.executable, "-m", "tests.faults.train_out_of_memory")
    result = run([*TORCHRUN, "--nproc-per-node=2", *program, *arguments], timeout=120)
    assert result.returncode != 0
    record = json.loads((tmp_path / "records" / "train-000.json").read_text())
    assert record["outcome"] == "failed"
    assert record["reason"].startswith("rank 1: UserError: cpu is out of memory with 4 windows"), record


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_lack_of_memory_on_a_gpu_is_explained(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original_forward = FNO.forward

    def forward_out_of_memory(self: FNO, batch: Batch) -> dict[str, torch.Tensor]:
        torch.empty(2**45, device="cuda")
        return original_forward(self, batch)

    monkeypatch.setattr(FNO, "forward", forward_out_of_memory)
    with pytest.raises(ValueError, match="cuda:0 is out of memory with 4 windows"):
        train_model(tmp_path, dataset, "training.device=cuda")
