"""The construction of surrogates without the memory of their weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from simsurrogate.errors import UserError
from surrogates import store
from surrogates.contract import Surrogate, surrogate_class, surrogate_names
from surrogates.fno import FNO
from surrogates.weights import construct_without_memory, num_weights
from tests.support import problems


@pytest.mark.parametrize("name", surrogate_names())
def test_the_number_of_weights_is_that_of_the_surrogate(name: str) -> None:
    problem, options = problems.learnable_problem(name), problems.options(name)
    expected = store.build(name, options, problem, "float32")
    random_state = torch.get_rng_state()
    constructor: Any = surrogate_class(name)
    sketch = construct_without_memory(lambda: constructor(problem, **options))
    assert num_weights(sketch) == num_weights(expected)
    assert torch.equal(torch.get_rng_state(), random_state)


def test_huge_weights_take_no_memory() -> None:
    problem = problems.grid_problem((12,), ("periodic",))
    sketch = construct_without_memory(lambda: FNO(problem, width=10**6, modes=3, layers=1))
    assert num_weights(sketch) > 10**12
    with pytest.raises(UserError, match="more weights than any machine can hold"):
        construct_without_memory(lambda: FNO(problem, width=10**22, modes=3, layers=1))


def test_a_constructor_may_need_the_values_of_its_weights() -> None:
    class Orthogonal(FNO):
        def __init__(self) -> None:
            super().__init__(problems.grid_problem((12,), ("periodic",)), width=4, modes=3, layers=1)
            self.matrix = torch.nn.Parameter(torch.randn(300, 300))
            self.scale = self.matrix.norm().item()

    sketch: Surrogate = construct_without_memory(Orthogonal)
    assert num_weights(sketch) > 300**2
