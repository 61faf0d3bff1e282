"""The faster way of products is taken where it is as exact as the usual one, and for training alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline.training import precision
from tests.training_cases import made_dataset, trained

CPU = torch.device("cpu")


def test_products_stay_as_exact_as_float32() -> None:
    before = torch.get_float32_matmul_precision()
    one, two = torch.randn(300, 200), torch.randn(200, 100)
    with precision.fast_products(CPU) as way:
        assert way in ("medium", before)
        assert torch.get_float32_matmul_precision() == way
        exact = one.double() @ two.double()
        assert ((one @ two) - exact).norm() <= 1e-6 * exact.norm()
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(("error", "way"), [(4e-7, "medium"), (4e-3, "highest")])
def test_arithmetic_of_fewer_digits_is_left_alone(
    error: float, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a processor whose `medium` way is bfloat16: errors of 4e-3."""
    monkeypatch.setattr(precision, "_product_error", lambda *shape: error)
    with precision.fast_products(CPU) as found:
        assert found == way


def test_a_gpu_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_product_error", lambda *shape: 0.0)
    with precision.fast_products(torch.device("cuda")) as way:
        assert way == "highest"


def test_the_record_tells_the_way(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path)
    trained(tmp_path, dataset, "training.steps=1")
    record = json.loads((tmp_path / "records" / "train-000.json").read_text())
    assert record["float32_products"] in ("medium", "highest")
    assert torch.get_float32_matmul_precision() == "highest"
