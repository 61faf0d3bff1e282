"""Collocation points: quasi-random points, resampling by the residual, and causal weights."""

from __future__ import annotations

import math

import pytest
import torch

from surrogates.physics.collocation import QuasiRandomPoints, causal_weights, resample_by_residual


def test_quasi_random_points_fill_the_box_and_depend_only_on_the_random_numbers() -> None:
    quasi_random = QuasiRandomPoints([(0.0, 2.0), (10.0, 20.0)], 64).double()
    random_numbers = torch.tensor([[0.0, 0.0], [0.9, 0.3]], dtype=torch.float64)
    points = quasi_random(random_numbers)
    assert points.shape == (2, 64, 2)
    assert torch.equal(points, quasi_random(random_numbers))
    for window in points:
        columns = (window - torch.tensor([0.0, 10.0])) / torch.tensor([2.0, 10.0])
        assert ((columns >= 0) & (columns < 1)).all()
        cells = (columns * 4).long()
        counts = torch.bincount(4 * cells[:, 0] + cells[:, 1], minlength=16)
        assert counts.min() >= 2
        assert counts.max() <= 6


def test_points_with_large_residuals_are_chosen_more_often() -> None:
    points = torch.linspace(0, 1, 40, dtype=torch.float64)[None, :, None]
    residuals = torch.where(points[..., 0] > 0.5, 3.0, 1.0)
    resampled_points = resample_by_residual(points, residuals, torch.tensor([0.5], dtype=torch.float64), 20)[
        0, :, 0
    ]
    # The mean residual is 2, so the probabilities of the halves have the ratio (3 / 2 + 1) : (1 / 2 + 1).
    assert (resampled_points > 0.5).sum() == pytest.approx(20 * 2.5 / 4, abs=1)
    zeros = torch.zeros_like(residuals)
    uniform_sample = resample_by_residual(points, zeros, torch.tensor([0.3], dtype=torch.float64), 20)
    assert torch.equal(uniform_sample[0, :, 0], points[0, 0::2, 0])


def test_causal_weights_decrease_with_the_earlier_residuals() -> None:
    times = torch.tensor([[0.3, 0.1, 0.2], [0.1, 0.2, 0.3]], dtype=torch.float64)
    squares = torch.tensor([[5.0, 0.6, 0.3], [0.0, 0.0, 7.0]], dtype=torch.float64)
    weights = causal_weights(times, squares, 2.0)
    expected = [[math.exp(-2 * 0.9 / 3), 1.0, math.exp(-2 * 0.6 / 3)], [1.0, 1.0, 1.0]]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=0)
