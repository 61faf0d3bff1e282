"""Stencils of several levels in one pass, compared with single levels and with the operator's matrix."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from mpi4py import MPI

from solvers.heat import operator as operator_module
from solvers.heat.operator import DiffusionOperator
from solvers.numerics.grid import MARGIN, Grid
from tests.support.heat_cases import CONDITIONS, operator_matrix, random_diffusivity

SHAPES = {1: (41,), 2: (23, 11), 3: (13, 6, 5)}


def build_operator(conditions: tuple[str, ...], is_uniform: bool = False) -> DiffusionOperator:
    num_axes = len(conditions)
    grid = Grid(MPI.COMM_SELF, (1.0, 0.7, 1.2)[:num_axes], SHAPES[num_axes], conditions)
    return DiffusionOperator(grid, 0.3 if is_uniform else random_diffusivity(grid))


def march_levels(operator: DiffusionOperator, levels: np.ndarray, uses_slope: bool = True) -> np.ndarray:
    """Return the last two levels after a march from random arrays."""
    rng = np.random.default_rng(1)
    y, older_level, slope = operator.padded_array(), operator.padded_array(), operator.padded_array()
    for array in (y, older_level, slope):
        operator.load(array, rng.standard_normal(operator.grid.block_shape))
    newest_level, level_before = operator.march(y, older_level, slope if uses_slope else None, levels)
    return np.array([newest_level[operator.interior], level_before[operator.interior]])


def random_levels(operator: DiffusionOperator, num_levels: int) -> np.ndarray:
    weights = np.random.default_rng(2).uniform(-1, 1, (num_levels, 4))
    weights[:, 2] /= operator.spectral_bound
    return weights


@pytest.mark.parametrize("num_levels", [1, 2, 7, 12, 30])
@pytest.mark.parametrize(
    "conditions",
    [
        *itertools.product(CONDITIONS, repeat=1),
        *itertools.product(CONDITIONS, repeat=2),
        CONDITIONS,
        CONDITIONS[::-1],
    ],
)
def test_a_wavefront_is_bitwise_equal_to_single_sweeps(
    conditions: tuple[str, ...], num_levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep_operator = build_operator(conditions)
    assert deep_operator.depth == 12
    levels = random_levels(deep_operator, num_levels)
    result = march_levels(deep_operator, levels)
    monkeypatch.setattr(operator_module, "MAX_LEVELS", 1)
    single_level_operator = build_operator(conditions)
    assert single_level_operator.depth == 1
    assert np.array_equal(result, march_levels(single_level_operator, levels))


@pytest.mark.parametrize("conditions", [("dirichlet",), ("periodic", "neumann"), CONDITIONS])
def test_levels_agree_with_the_recurrence_of_the_matrix(conditions: tuple[str, ...]) -> None:
    operator = build_operator(conditions)
    a = operator_matrix(operator)
    rng = np.random.default_rng(1)
    y, older_level, slope = (rng.standard_normal(operator.grid.block_shape).ravel() for _ in range(3))
    levels = random_levels(operator, 15)
    for weight, older_weight, gain, slope_gain in levels:
        y, older_level = weight * y + older_weight * older_level + gain * a @ y + slope_gain * slope, y
    assert np.allclose(march_levels(operator, levels)[0].ravel(), y, rtol=0, atol=1e-13 * np.abs(y).max())


@pytest.mark.parametrize("conditions", list(itertools.product(CONDITIONS, repeat=2)))
def test_the_uniform_kernel_agrees_with_the_kernel_of_faces(conditions: tuple[str, str]) -> None:
    uniform_operator = build_operator(conditions, is_uniform=True)
    operator_with_faces = DiffusionOperator(
        uniform_operator.grid, np.full(uniform_operator.grid.block_shape, 0.3)
    )
    assert uniform_operator.spectral_bound == pytest.approx(operator_with_faces.spectral_bound, rel=1e-14)
    time_step = 1.8 / uniform_operator.spectral_bound
    levels = np.tile([1.0, 0.0, time_step, time_step], (25, 1))
    result, expected = (
        march_levels(uniform_operator, levels, False),
        march_levels(operator_with_faces, levels, False),
    )
    assert np.allclose(result, expected, rtol=0, atol=1e-14 * 25)


def test_rows_start_on_a_cache_line() -> None:
    operator = build_operator(("periodic", "dirichlet"))
    for array in (operator.padded_array(), *operator.faces):
        assert array.flags.c_contiguous
        assert array[operator.interior].ctypes.data % (8 * MARGIN) == 0
        assert array.strides[0] % (8 * MARGIN) == 0
