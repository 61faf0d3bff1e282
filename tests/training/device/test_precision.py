"""Mixed precision: it is used only if its errors are small."""

from __future__ import annotations

import pytest
import torch

from pipeline.parallel.ranks import Ranks
from pipeline.training.device import precision
from surrogates import store
from surrogates.contract import Batch, surrogate_class, surrogate_names
from surrogates.mlp import MLP
from tests.support import problems
from tests.support.surrogate_cases import FramesInMemory
from tests.support.trainings.training_cases import read_settings

CPU = torch.device("cpu")
SINGLE_RANK = Ranks(0, 1, CPU, {"here": 1})
#: The loss of `scalars`, the likelihood of a normal distribution, is refused with mixed precision.
MIXED_PRECISION_NAMES = [
    name
    for name in surrogate_names()
    if not (surrogate_class(name).physics_informed or surrogate_class(name).learns_quantities)
]


class CancellingMLP(MLP):
    """A perceptron with a loss that subtracts two almost equal numbers."""

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        weight = self.network[0].weight
        large_row = torch.full_like(weight[:1], 1e4)
        return {
            "data": ((large_row + batch["state"].mean()) @ weight.T - large_row @ weight.T).square().mean()
        }


#: Options of a network of usual width, because the gradients of a tiny network cancel.
OPTIONS = {"hamiltonian": {"width": 32, "substeps": 2}}


@pytest.mark.parametrize("name", MIXED_PRECISION_NAMES)
def test_mixed_precision_has_small_errors(name: str) -> None:
    problem = problems.learnable_problem(name)
    torch.manual_seed(0)
    surrogate = store.build(name, problems.options(name) | OPTIONS.get(name, {}), problem, "float32")
    frames = problems.batch(problem, size=6, frames=4, dtype=torch.float64)["state"]
    surrogate.initialise(FramesInMemory(frames))
    batch = problems.batch(problem, 8, num_random=surrogate.num_random)
    options = read_settings("training.precision=bfloat16").training
    errors = precision.check_mixed(surrogate, batch, options, SINGLE_RANK)
    assert all(0 < error < 0.02 for error in errors.values())
    assert all(weight.grad is None for weight in surrogate.parameters())


def test_mixed_precision_with_a_large_error_is_refused_with_its_size() -> None:
    problem = problems.particle_problem()
    torch.manual_seed(0)
    surrogate = CancellingMLP(problem, **problems.options("mlp"))
    options = read_settings("training.precision=bfloat16").training
    message = (
        r"too coarse for CancellingMLP on these data: "
        r".* its loss is off by \d\.\de[+-]\d+, more than 8\.8e-02"
    )
    with pytest.raises(ValueError, match=message):
        precision.check_mixed(surrogate, problems.batch(problem, 8), options, SINGLE_RANK)


def test_a_loss_that_is_not_finite_does_not_count_as_an_error_of_the_precision() -> None:
    problem = problems.learnable_problem("fno")
    surrogate = store.build("fno", problems.options("fno"), problem, "float32")
    batch = problems.batch(problem, 8)
    batch["state"][0] = torch.nan
    options = read_settings("training.precision=bfloat16").training
    assert precision.check_mixed(surrogate, batch, options, SINGLE_RANK) == {"loss": 0.0, "gradient": 0.0}
