"""Means over blocks of cells, and the map of periodic fields between two grids, on known fields."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.coarsening.means import arithmetic_mean, conductivity_means, harmonic_mean, series_mean
from pipeline.coarsening.spectral_map import SpectralMap
from solvers.numerics.resample import AffineMap, apply_along_axes, cubic_matrix, mean_matrix

LAYERS = np.exp(np.linspace(-3.0, 3.0, 8))


def test_a_uniform_conductivity_is_each_of_its_means() -> None:
    for _, _, mean in conductivity_means(("x", "y", "z")):
        np.testing.assert_allclose(mean(np.full((1, 4, 6, 2), 0.7), (2, 3, 2)), 0.7, rtol=1e-15)


def test_layers_conduct_in_series_across_and_in_parallel_along() -> None:
    layers_across_x = np.broadcast_to(LAYERS[:, None], (8, 6))
    in_series, in_parallel = 4 / np.sum(1 / LAYERS[:4]), LAYERS[:4].mean()
    for values, cells, across, along in (
        (layers_across_x, (4, 3), 0, 1),
        (layers_across_x.T, (3, 4), 1, 0),
    ):
        assert series_mean(values, cells, across)[0, 0] == pytest.approx(in_series, rel=1e-14)
        assert series_mean(values, cells, along)[0, 0] == pytest.approx(in_parallel, rel=1e-14)
        assert harmonic_mean(values, cells)[0, 0] == pytest.approx(in_series, rel=1e-14)
        assert arithmetic_mean(values, cells)[0, 0] == pytest.approx(in_parallel, rel=1e-14)


def test_the_means_are_bounds_in_the_known_order() -> None:
    values = np.exp(np.random.default_rng(0).normal(size=(12, 8)))
    cells = (3, 4)
    bounds = [harmonic_mean(values, cells), series_mean(values, cells, 0), arithmetic_mean(values, cells)]
    assert (np.diff(bounds, axis=0) > 0).all()
    bounds[1] = series_mean(values, cells, 1)
    assert (np.diff(bounds, axis=0) > 0).all()


def waves(*cells: int) -> np.ndarray:
    """Return a field of three waves at the centres of the cells, (1, *cells)."""
    x, y = np.meshgrid(*((np.arange(count) + 0.5) / count for count in cells), indexing="ij")
    field: np.ndarray = 2 + np.sin(2 * np.pi * x) + np.cos(2 * np.pi * (2 * x - y)) + np.sin(4 * np.pi * y)
    return field[None]


@pytest.mark.parametrize("cells", [(8, 10), (12, 5), (24, 20), (30, 40)])
def test_waves_that_both_grids_resolve_are_mapped_exactly(cells: tuple[int, int]) -> None:
    result = SpectralMap(None, (24, 20), cells)(waves(24, 20))
    np.testing.assert_allclose(result, waves(*cells), rtol=0, atol=1e-13)


def test_truncation_drops_the_other_waves_and_keeps_the_mean() -> None:
    result = SpectralMap(None, (24, 20), (24, 4))(waves(24, 20))
    x = (np.arange(24) + 0.5)[:, None] / 24
    # On 4 cells along y, sin(4 pi y) is a wave of two cells.
    y = (np.arange(4) + 0.5) / 4
    expected = 2 + np.sin(2 * np.pi * x) + np.cos(2 * np.pi * (2 * x - y))
    np.testing.assert_allclose(result[0], expected, rtol=0, atol=1e-13)


def test_an_affine_map_and_means_are_one_map() -> None:
    values = np.random.default_rng(0).normal(size=(1, 5, 7))
    matrices = [cubic_matrix("neumann", 5, 12), cubic_matrix("dirichlet", 7, 8)]
    interpolation = AffineMap(matrices, np.full((5, 7), 0.3), np.random.default_rng(1).normal(size=(12, 8)))
    both = interpolation.followed_by([mean_matrix(12, 3), mean_matrix(8, 4)])
    np.testing.assert_allclose(both(values), arithmetic_mean(interpolation(values), (3, 4)), atol=1e-14)
    assert both(values).shape == apply_along_axes([np.ones((4, 5)), np.ones((2, 7))], values).shape
