"""Gradients that are not finite are skipped, a few of them, alike on all ranks; lack of memory is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pipeline import train
from pipeline.training import checkpoint
from pipeline.training.batches.order import BatchOrder
from surrogates.fno import FNO
from tests.support.launching import mpi, run, stage, succeeded
from tests.support.training_cases import TINY, made_dataset, read, same, trained


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def poisoned(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set with a NaN that came after its validation: one cell of trajectory 5, in frame 3."""
    folder = tmp_path_factory.mktemp("poisoned") / "dataset"
    shutil.copytree(dataset, folder)
    place(np.nan, folder, trajectory=5, frame=3)
    return folder


def place(value: float, dataset: Path, trajectory: int, frame: int) -> None:
    for path in sorted((dataset / "data" / "train").glob("*.hdf5")):
        with h5py.File(path, "r+") as file:
            rows = np.flatnonzero(file["sample"][:] == trajectory)
            if len(rows):
                file["t0_fields/temperature"][rows[0], frame, 7] = value
                return
    raise AssertionError(f"trajectory {trajectory} is in no shard")


def log_of(folder: Path) -> np.ndarray:
    return np.loadtxt(folder / "log.csv", delimiter=",", skiprows=1, ndmin=2)


@pytest.fixture(scope="module")
def undisturbed(poisoned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("undisturbed"), poisoned)


def test_steps_whose_gradient_is_not_finite_are_skipped_and_told(undisturbed: Path) -> None:
    last = checkpoint.load(checkpoint.paths(undisturbed / "checkpoints")[-1])
    # Of seven frames each trajectory has six windows; two of them hold the bad one.
    batches = BatchOrder(12 * 6, 4, seed=0, rank=0, size=1)
    expected = [step + 1 for step in range(30) if {32, 33} & set(batches.global_batch(step).tolist())]
    skipped = last.metadata["skipped"]
    assert skipped == expected
    assert len(skipped) > 1
    rows = log_of(undisturbed)
    assert rows[:, 4].tolist() == [sum(step <= row for step in skipped) for row in (10, 20, 30)]
    assert np.isfinite(rows).all()
    assert all(tensor.isfinite().all() for tensor in last.tensors.values())
    record = json.loads((undisturbed.parents[1] / "records" / "train-000.json").read_text())
    assert record["skipped_steps"] == skipped


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_with_skipped_steps_resumes_exactly(
    ranks: int, poisoned: Path, undisturbed: Path, tmp_path: Path
) -> None:
    arguments = [f"run={tmp_path / 'killed'}", f"dataset={poisoned}", *TINY]
    killed = mpi(ranks, "-m", "tests.faults.train_killed", *arguments)
    assert run(killed, KILL_AT_STEP="19").returncode != 0
    found = checkpoint.paths(tmp_path / "killed" / "models" / "fno" / "checkpoints")
    assert checkpoint.load(found[-1]).metadata["skipped"]
    succeeded(stage("train", *arguments, ranks=ranks))
    straight = tmp_path / "straight"
    if ranks > 1:
        succeeded(stage("train", f"run={straight}", *arguments[1:], ranks=ranks))
    whole = undisturbed if ranks == 1 else straight / "models" / "fno"
    assert same(tmp_path / "killed" / "models" / "fno", whole)
    # Each rank saw but its own windows, and all skipped the same steps.
    np.testing.assert_allclose(log_of(whole), log_of(undisturbed), rtol=1e-3)


@pytest.mark.parametrize("ranks", [1, 2])
def test_too_many_skipped_steps_end_the_run_and_name_the_windows(
    ranks: int, poisoned: Path, tmp_path: Path
) -> None:
    arguments = (f"run={tmp_path}", f"dataset={poisoned}", *TINY, "training.max_skipped_steps=1")
    result = stage("train", *arguments, ranks=ranks)
    assert result.returncode == 2, result.stderr
    assert "more than training.max_skipped_steps=1" in result.stderr
    assert "Windows whose loss is not finite: trajectory 5, frames " in result.stderr
    assert "frames 2 to 3" in result.stderr or "frames 3 to 4" in result.stderr
    assert "trajectory 4" not in result.stderr
    assert not (tmp_path / "models" / "fno" / "model.json").exists()
    # What was learned before is kept, and goes on where more is allowed.
    succeeded(stage("train", *arguments[:-1], ranks=ranks))


def test_windows_are_named_though_a_surrogate_draws_its_own_points(tmp_path: Path) -> None:
    harmonics = (
        "solver.initial.kind=harmonics",
        "solver.initial.count=2",
        "solver.diffusivity.kind=constant",
    )
    bad = made_dataset(tmp_path, *harmonics)
    place(np.nan, bad, trajectory=5, frame=3)
    perceptron = [word for word in TINY if "modes" not in word]
    settings = read(
        f"run={tmp_path}", "surrogate=mlp", *perceptron, "training.unroll=2", "training.max_skipped_steps=0"
    )
    assert settings.dataset == bad
    with pytest.raises(ValueError, match="Windows whose loss is not finite: trajectory 5, frames"):
        train.run(settings)


def test_weights_that_blow_up_end_the_run(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"norm is nan at step 3, after .* at 2: .*learning_rate=1e\+20"):
        trained(tmp_path, dataset, "training.learning_rate=1e20", "training.max_skipped_steps=1")


@pytest.mark.parametrize("ranks", [1, 2])
def test_too_little_memory_is_told_with_the_batch_that_was_tried(
    ranks: int, dataset: Path, tmp_path: Path
) -> None:
    """The device's own exception, from the forward of a surrogate, on the last rank alone."""
    arguments = (f"run={tmp_path}", f"dataset={dataset}", *TINY, "training.batch_size=8")
    result = run(mpi(ranks, "-m", "tests.faults.train_out_of_memory", *arguments), timeout=60)
    assert result.returncode == 2, result.stderr
    at_once = 8 // ranks
    assert f"cpu is out of memory with {at_once} windows of 2 frames at once" in result.stderr
    assert f"training.batch_size=8 on {ranks} ranks" in result.stderr
    assert "raise training.gradient_accumulation_steps" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_is_full_is_told(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = FNO.forward

    def greedy(self: FNO, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        torch.empty(2**45, device="cuda")
        return usual(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(FNO, "forward", greedy)
    with pytest.raises(ValueError, match="cuda:0 is out of memory with 4 windows"):
        trained(tmp_path, dataset, "training.device=cuda")
