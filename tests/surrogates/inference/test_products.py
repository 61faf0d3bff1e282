"""Fast products: the matmul precision `medium` is used only if its errors are those of float32."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from surrogates.inference import products
from surrogates.inference.products import fast_matmul

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _new_comparison() -> Iterator[None]:
    """Compare the products again in each test."""
    products.is_medium_exact.cache_clear()
    yield
    products.is_medium_exact.cache_clear()


def test_matrix_products_have_the_accuracy_of_float32() -> None:
    precision_before = torch.get_float32_matmul_precision()
    left_factor, right_factor = torch.randn(300, 200), torch.randn(200, 100)
    with fast_matmul(CPU) as setting:
        assert setting in ("medium", precision_before)
        assert torch.get_float32_matmul_precision() == setting
        exact_product = left_factor.double() @ right_factor.double()
        assert ((left_factor @ right_factor) - exact_product).norm() <= 1e-6 * exact_product.norm()
    assert torch.get_float32_matmul_precision() == precision_before


@pytest.mark.parametrize(("error", "expected"), [(4e-7, "medium"), (4e-3, "highest")])
def test_arithmetic_with_a_large_error_is_not_used(
    error: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A processor that computes `medium` in bfloat16 has an error of 4e-3.
    monkeypatch.setattr(products, "_product_error", lambda *shape: error)
    with fast_matmul(CPU) as setting:
        assert setting == expected


def test_the_setting_of_a_gpu_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_product_error", lambda *shape: 0.0)
    with fast_matmul(torch.device("cuda")) as setting:
        assert setting == "highest"
