"""Faster arithmetic is taken where it is as exact as it has to be, and for training alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline.parallel.ranks import Ranks
from pipeline.training.device import precision
from surrogates import store
from surrogates.contract import Batch, surrogate_class, surrogate_names
from surrogates.mlp import MLP
from tests.support import problems
from tests.support.training_cases import made_dataset, read, trained

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU, {"here": 1})
MIXED = [name for name in surrogate_names() if not surrogate_class(name).physics_informed]


class Cancelling(MLP):
    """A perceptron that looks for a change of the state in its tenth digit."""

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        weight = self.network[0].weight
        large = torch.full_like(weight[:1], 1e4)
        return {"data": ((large + batch["state"].mean()) @ weight.T - large @ weight.T).square().mean()}


def test_products_stay_as_exact_as_float32() -> None:
    before = torch.get_float32_matmul_precision()
    one, two = torch.randn(300, 200), torch.randn(200, 100)
    with precision.fast_matmul(CPU) as way:
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
    with precision.fast_matmul(CPU) as found:
        assert found == way


def test_a_gpu_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_product_error", lambda *shape: 0.0)
    with precision.fast_matmul(torch.device("cuda")) as way:
        assert way == "highest"


def test_the_record_tells_the_way(tmp_path: Path) -> None:
    dataset = made_dataset(tmp_path)
    trained(tmp_path, dataset, "training.steps=1")
    record = json.loads((tmp_path / "records" / "train-000.json").read_text())
    assert record["float32_products"] in ("medium", "highest")
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("name", MIXED)
def test_mixed_precision_is_shown_to_be_harmless(name: str) -> None:
    problem = problems.learnable_problem(name)
    torch.manual_seed(0)
    surrogate = store.build(name, problems.options(name), problem, "float32")
    batch = problems.batch(problem, 8, num_random=surrogate.num_random)
    options = read("training.precision=bfloat16").training
    found = precision.check_mixed(surrogate, batch, options, ALONE)
    assert all(0 < error < 0.02 for error in found.values())
    assert all(weight.grad is None for weight in surrogate.parameters())


def test_mixed_precision_that_loses_the_loss_is_refused_with_the_figure() -> None:
    problem = problems.particles()
    torch.manual_seed(0)
    surrogate = Cancelling(problem, **problems.options("mlp"))
    options = read("training.precision=bfloat16").training
    said = (
        r"too coarse for Cancelling on these data: .* its loss is off by \d\.\de[+-]\d+, more than 8\.8e-02"
    )
    with pytest.raises(ValueError, match=said):
        precision.check_mixed(surrogate, problems.batch(problem, 8), options, ALONE)


def test_a_batch_without_a_loss_to_compare_with_is_no_fault_of_the_precision() -> None:
    problem = problems.learnable_problem("fno")
    surrogate = store.build("fno", problems.options("fno"), problem, "float32")
    batch = problems.batch(problem, 8)
    batch["state"][0] = torch.nan
    options = read("training.precision=bfloat16").training
    assert precision.check_mixed(surrogate, batch, options, ALONE) == {"loss": 0.0, "gradient": 0.0}
