"""The loader of training windows, with windows on the device and in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.data.dataset import Dataset
from pipeline.data.windows import Windows
from pipeline.training.batches import loader
from pipeline.training.batches.loader import DeviceLoader
from tests.support.trainings.training_cases import are_identical, train_model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resident_windows_equal_the_windows_of_the_files(
    dtype: torch.dtype, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, template = Dataset.open(dataset), torch.empty(0, dtype=dtype)
    resident_loader = DeviceLoader(data, 3, template)
    monkeypatch.setattr(loader, "_MAX_RESIDENT_BYTES", 1000)
    streaming_loader = DeviceLoader(data, 3, template)
    assert len(resident_loader) == len(streaming_loader) == 12 * 5
    indices = np.random.default_rng(0).integers(0, len(resident_loader), 20)
    expected = streaming_loader.take(indices)
    monkeypatch.setattr(Windows, "take", None)
    with pytest.raises(TypeError, match="not callable"):
        streaming_loader.take(indices)
    batch = resident_loader.take(indices)
    assert batch.keys() == expected.keys()
    for name, tensor in batch.items():
        assert tensor.dtype == dtype  # type: ignore[attr-defined]
        assert torch.equal(tensor, expected[name])  # type: ignore[arg-type, literal-required]


def test_training_is_the_same_from_memory_and_from_files(
    dataset: Path, undisturbed_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "_MAX_RESIDENT_BYTES", 0)
    assert are_identical(train_model(tmp_path, dataset), undisturbed_model)
