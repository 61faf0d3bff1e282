"""The threads and the library of a prediction by its size, and those of the process afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from surrogates.inference import fast_arithmetic
from surrogates.inference.products import is_medium_exact


@pytest.fixture(autouse=True)
def _four_threads() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(num_threads)


def weights(device: str = "cpu") -> Iterator[torch.Tensor]:
    """Return the weights of a surrogate on a device."""
    return iter([torch.zeros(1, device=device)])


@pytest.mark.parametrize(("num_values", "num_threads"), [(0, 1), (48 * 48, 1), (3 * 4096, 3), (10**6, 4)])
def test_each_thread_has_enough_values(num_values: int, num_threads: int) -> None:
    with fast_arithmetic(weights(), (2, num_values // 2), 1):
        assert torch.get_num_threads() == num_threads
    assert torch.get_num_threads() == 4


def test_a_failed_prediction_restores_the_threads() -> None:
    with pytest.raises(ZeroDivisionError), fast_arithmetic(weights(), (1,), 1):
        _ = 1 / 0
    assert torch.get_num_threads() == 4


def test_the_threads_next_to_a_gpu_are_not_changed() -> None:
    with fast_arithmetic(weights("meta"), (1,), 1):
        assert torch.get_num_threads() == 4


def test_few_rows_are_multiplied_by_the_default_library() -> None:
    default = torch.get_float32_matmul_precision()
    for num_rows, precision in ((255, default), (256, "medium" if is_medium_exact() else default)):
        with fast_arithmetic(weights(), (1,), num_rows):
            assert torch.get_float32_matmul_precision() == precision
    assert torch.get_float32_matmul_precision() == default
