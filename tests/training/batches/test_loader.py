"""Data that fit stay on the device, with the same bits; how long steps wait for data is measured."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.data.dataset import Dataset
from pipeline.training.batches import loader
from pipeline.training.batches.loader import DeviceLoader
from tests.support.training_cases import made_dataset, same, trained


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_dataset(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resident_windows_are_those_of_the_files(
    dtype: torch.dtype, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, like = Dataset.open(dataset), torch.empty(0, dtype=dtype)
    resident = DeviceLoader(data, 3, like)
    monkeypatch.setattr(loader, "_MAX_RESIDENT_BYTES", 1000)
    streamed = DeviceLoader(data, 3, like)
    assert resident.is_resident
    assert not streamed.is_resident
    assert len(resident) == len(streamed) == 12 * 5
    indices = np.random.default_rng(0).integers(0, len(resident), 20)
    ours, theirs = resident.take(indices), streamed.take(indices)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == dtype  # type: ignore[attr-defined]
        assert torch.equal(tensor, theirs[name])  # type: ignore[arg-type, literal-required]


def test_training_is_the_same_from_memory_and_from_files(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = trained(tmp_path / "resident", dataset)
    monkeypatch.setattr(loader, "_MAX_RESIDENT_BYTES", 0)
    assert same(trained(tmp_path / "streamed", dataset), resident)


def test_the_time_of_a_step_and_the_wait_for_data_are_kept(dataset: Path, tmp_path: Path) -> None:
    folder = trained(tmp_path, dataset, "training.steps=20")
    rows = list(csv.DictReader((folder / "timing.csv").open()))
    assert [float(row["step"]) for row in rows] == [10, 20]
    for row in rows:
        assert float(row["seconds_per_step"]) > 0
        assert 0 < float(row["data_wait_share"]) < 1
