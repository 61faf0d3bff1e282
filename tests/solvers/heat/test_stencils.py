"""Several levels in one pass give what one level at a time gives, and what the matrix gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from mpi4py import MPI

from solvers.heat import operator as operator_module
from solvers.heat.operator import DiffusionOperator
from solvers.numerics.grid import MARGIN, Grid

KINDS = ("periodic", "dirichlet", "neumann")
SHAPES = {1: (41,), 2: (23, 11), 3: (13, 6, 5)}


def operator(kinds: tuple[str, ...], uniform: bool = False) -> DiffusionOperator:
    on = Grid(MPI.COMM_SELF, (1.0, 0.7, 1.2)[: len(kinds)], SHAPES[len(kinds)], kinds)
    rng = np.random.default_rng(0)
    return DiffusionOperator(on, 0.3 if uniform else np.exp(rng.standard_normal(on.block_shape)))


def marched(by: DiffusionOperator, levels: np.ndarray, with_slope: bool = True) -> np.ndarray:
    """The last two levels, from random arrays."""
    rng = np.random.default_rng(1)
    y, older, slope = by.padded(), by.padded(), by.padded()
    for array in (y, older, slope):
        by.load(array, rng.standard_normal(by.grid.block_shape))
    newest, before = by.march(y, older, slope if with_slope else None, levels)
    return np.array([newest[by.interior], before[by.interior]])


def random_levels(by: DiffusionOperator, number: int) -> np.ndarray:
    weights = np.random.default_rng(2).uniform(-1, 1, (number, 4))
    weights[:, 2] /= by.spectral_bound
    return weights


@pytest.mark.parametrize("number", [1, 2, 7, 12, 30])
@pytest.mark.parametrize(
    "kinds", [*itertools.product(KINDS, repeat=1), *itertools.product(KINDS, repeat=2), KINDS, KINDS[::-1]]
)
def test_a_wavefront_gives_the_same_bits_as_single_sweeps(
    kinds: tuple[str, ...], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = operator(kinds)
    assert deep.depth == 12
    levels = random_levels(deep, number)
    found = marched(deep, levels)
    monkeypatch.setattr(operator_module, "_DEEPEST", 1)
    single = operator(kinds)
    assert single.depth == 1
    assert np.array_equal(found, marched(single, levels))


@pytest.mark.parametrize("kinds", [("dirichlet",), ("periodic", "neumann"), KINDS])
def test_levels_are_the_recurrence_with_the_matrix(kinds: tuple[str, ...]) -> None:
    by = operator(kinds)
    size = int(np.prod(by.grid.block_shape))
    matrix = np.empty((size, size))
    for column, unit in enumerate(np.eye(size)):
        y, out = by.padded(), by.padded()
        by.load(y, unit.reshape(by.grid.block_shape))
        newest, _ = by.march(y, out, by.padded(), np.array([[0.0, 0.0, 1.0, 0.0]]))
        matrix[:, column] = newest[by.interior].ravel()
    rng = np.random.default_rng(1)
    y, older, slope = (rng.standard_normal(by.grid.block_shape).ravel() for _ in range(3))
    levels = random_levels(by, 15)
    for present, past, gain, slope_gain in levels:
        y, older = present * y + past * older + gain * matrix @ y + slope_gain * slope, y
    assert np.allclose(marched(by, levels)[0].ravel(), y, rtol=0, atol=1e-13 * np.abs(y).max())


@pytest.mark.parametrize("kinds", list(itertools.product(KINDS, repeat=2)))
def test_the_kernel_without_faces_equals_that_with_faces(kinds: tuple[str, str]) -> None:
    uniform = operator(kinds, uniform=True)
    with_faces = DiffusionOperator(uniform.grid, np.full(uniform.grid.block_shape, 0.3))
    assert uniform.spectral_bound == pytest.approx(with_faces.spectral_bound, rel=1e-14)
    step = 1.8 / uniform.spectral_bound
    levels = np.tile([1.0, 0.0, step, step], (25, 1))
    found, expected = marched(uniform, levels, False), marched(with_faces, levels, False)
    assert np.allclose(found, expected, rtol=0, atol=1e-14 * 25)


def test_rows_start_on_a_cache_line() -> None:
    by = operator(("periodic", "dirichlet"))
    for array in (by.padded(), *by.faces):
        assert array.flags.c_contiguous
        assert array[by.interior].ctypes.data % (8 * MARGIN) == 0
        assert array.strides[0] % (8 * MARGIN) == 0
