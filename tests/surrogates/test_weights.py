"""The construction of surrogates without the memory of their weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from simsurrogate.errors import UserError
from surrogates import store
from surrogates.contract import Problem, Surrogate, surrogate_class, surrogate_names
from surrogates.fno import FNO
from surrogates.weights import MAX_ARRAYS, construct_without_memory, num_weights
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


class Orthogonal(FNO):
    """A surrogate whose constructor needs the values of a large array."""

    def __init__(self, problem: Problem, size: int, num_arrays: int = 0) -> None:
        super().__init__(problem, width=4, modes=3, layers=1)
        self.matrix = torch.nn.Parameter(torch.randn(300, 300))
        self.scale = self.matrix.norm().item()
        self.other = torch.nn.Parameter(torch.zeros(size))
        self.arrays = torch.nn.ParameterList(torch.zeros(1) for _ in range(num_arrays))


def construct_orthogonal(size: int, num_arrays: int = 0) -> Surrogate:
    problem = problems.grid_problem((12,), ("periodic",))
    return construct_without_memory(lambda: Orthogonal(problem, size, num_arrays))


def test_a_constructor_may_need_the_values_of_its_weights() -> None:
    random_state = torch.get_rng_state()
    assert num_weights(construct_orthogonal(1)) > 300**2
    assert torch.equal(torch.get_rng_state(), random_state)


def test_arrays_with_values_fit_into_the_free_memory() -> None:
    with pytest.raises(UserError, match=r"needs the values of .* of arrays.*At most .*Type smaller options"):
        construct_orthogonal(10**13)
    with pytest.raises(UserError, match="more than 5000 arrays"):
        construct_orthogonal(1, MAX_ARRAYS)


class Filled(FNO):
    """A surrogate with a large array of integers."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem, width=4, modes=3, layers=1)
        self.register_buffer("numbers", torch.full((300, 300), 7))


def test_an_array_without_values_has_the_type_of_its_fill_value() -> None:
    sketch: Any = construct_without_memory(lambda: Filled(problems.grid_problem((12,), ("periodic",))))
    assert (sketch.numbers.device.type, sketch.numbers.dtype) == ("meta", torch.int64)
