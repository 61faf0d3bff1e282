"""Faster arithmetic is used only in training, and only if it is exact enough."""

from __future__ import annotations

import pytest
import torch

from pipeline.parallel.ranks import Ranks
from pipeline.training.device import precision
from surrogates import store
from surrogates.contract import Batch, surrogate_class, surrogate_names
from surrogates.mlp import MLP
from tests.support import problems
from tests.support.training_cases import read

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU, {"here": 1})
MIXED = [name for name in surrogate_names() if not surrogate_class(name).physics_informed]


class Cancelling(MLP):
    """A perceptron whose loss is the difference of two almost equal numbers."""

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        weight = self.network[0].weight
        large = torch.full_like(weight[:1], 1e4)
        return {"data": ((large + batch["state"].mean()) @ weight.T - large @ weight.T).square().mean()}


def test_products_stay_as_exact_as_float32() -> None:
    before = torch.get_float32_matmul_precision()
    left, right = torch.randn(300, 200), torch.randn(200, 100)
    with precision.fast_matmul(CPU) as setting:
        assert setting in ("medium", before)
        assert torch.get_float32_matmul_precision() == setting
        exact = left.double() @ right.double()
        assert ((left @ right) - exact).norm() <= 1e-6 * exact.norm()
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(("error", "expected"), [(4e-7, "medium"), (4e-3, "highest")])
def test_arithmetic_of_fewer_digits_is_not_used(
    error: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of 4e-3 is that of a processor that computes `medium` in bfloat16."""
    monkeypatch.setattr(precision, "_product_error", lambda *shape: error)
    with precision.fast_matmul(CPU) as setting:
        assert setting == expected


def test_the_setting_of_a_gpu_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_product_error", lambda *shape: 0.0)
    with precision.fast_matmul(torch.device("cuda")) as setting:
        assert setting == "highest"


#: A network of usual width: the gradients of a tiny one cancel. Each substep adds the rounding of bfloat16.
OPTIONS = {"hamiltonian": {"width": 32, "substeps": 2}}


@pytest.mark.parametrize("name", MIXED)
def test_mixed_precision_has_small_errors(name: str) -> None:
    problem = problems.learnable_problem(name)
    torch.manual_seed(0)
    surrogate = store.build(name, problems.options(name) | OPTIONS.get(name, {}), problem, "float32")
    batch = problems.batch(problem, 8, num_random=surrogate.num_random)
    options = read("training.precision=bfloat16").training
    errors = precision.check_mixed(surrogate, batch, options, ALONE)
    assert all(0 < error < 0.02 for error in errors.values())
    assert all(weight.grad is None for weight in surrogate.parameters())


def test_mixed_precision_with_a_large_error_is_refused_with_its_size() -> None:
    problem = problems.particles()
    torch.manual_seed(0)
    surrogate = Cancelling(problem, **problems.options("mlp"))
    options = read("training.precision=bfloat16").training
    message = (
        r"too coarse for Cancelling on these data: .* its loss is off by \d\.\de[+-]\d+, more than 8\.8e-02"
    )
    with pytest.raises(ValueError, match=message):
        precision.check_mixed(surrogate, problems.batch(problem, 8), options, ALONE)


def test_a_batch_whose_loss_is_not_finite_is_no_fault_of_the_precision() -> None:
    problem = problems.learnable_problem("fno")
    surrogate = store.build("fno", problems.options("fno"), problem, "float32")
    batch = problems.batch(problem, 8)
    batch["state"][0] = torch.nan
    options = read("training.precision=bfloat16").training
    assert precision.check_mixed(surrogate, batch, options, ALONE) == {"loss": 0.0, "gradient": 0.0}
