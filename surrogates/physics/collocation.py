"""Collocation points: quasi-random points, resampling by the residual, and causal weights.

Shape letters: B windows, M points of a window, D coordinates of a point.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from surrogates.physics import deepxde_adapter


class QuasiRandomPoints(nn.Module):
    """Quasi-random points in a box, one set for each window of a batch.

    A set is the Hammersley set, shifted by the random numbers of the window and wrapped around the ends of
    the box. The points fill the box evenly and differ from step to step.

    Args:
        box: the lower and upper end of each axis.
        num_points: the number of points of a set.

    Source: Cranley & Patterson 1976 (doi:10.1137/0713071).
    """

    unit_points: torch.Tensor
    low: torch.Tensor
    extent: torch.Tensor

    def __init__(self, box: Sequence[tuple[float, float]], num_points: int):
        super().__init__()
        dtype = torch.get_default_dtype()
        low, high = torch.tensor(box, dtype=dtype).T
        unit_points = torch.tensor(deepxde_adapter.hammersley_points(num_points, len(box)), dtype=dtype)
        for name, values in {"unit_points": unit_points, "low": low, "extent": high - low}.items():
            self.register_buffer(name, values, persistent=False)

    def forward(self, random_BD: torch.Tensor) -> torch.Tensor:
        """Return the points (B, M, D) from one random number in [0, 1) for each window and axis."""
        return self.low + self.extent * ((self.unit_points + random_BD[:, None]) % 1)


def resample_by_residual(
    points_BMD: torch.Tensor, residual_BM: torch.Tensor, random_B: torch.Tensor, num_points: int
) -> torch.Tensor:
    """Return `num_points` points of each window, (B, num_points, D), chosen more often at large residuals.

    A point with a residual of magnitude r is chosen with (r / mean r + 1) / 2 times the uniform probability.
    The choice is systematic resampling: one random number and equal steps along the cumulative
    probabilities, which has a low variance.

    Source: Wu, Zhu, Tan, Kartha & Lu 2023 (doi:10.1016/j.cma.2022.115671), RAD with k = 1 and c = 1.
    """
    mean_B1 = residual_BM.mean(1, keepdim=True)
    weight_BM = torch.where(mean_B1 > 0, residual_BM / mean_B1, 1.0) + 1
    cumulative_BM = weight_BM.cumsum(1) / weight_BM.sum(1, keepdim=True)
    steps = torch.arange(num_points).to(cumulative_BM)
    chosen_index = torch.searchsorted(cumulative_BM, (steps + random_B[:, None]) / num_points)
    chosen_index = chosen_index.clamp_max(cumulative_BM.shape[1] - 1)
    return torch.gather(points_BMD, 1, chosen_index[..., None].expand(-1, -1, points_BMD.shape[2]))


def causal_weights(time_BM: torch.Tensor, square_BM: torch.Tensor, causality: float) -> torch.Tensor:
    """Return the causal weight of each point, (B, M), from the squared residuals at the times of the points.

        w(t) = exp(-causality (sum of r² at earlier points of the window) / M)

    A point counts once the residuals at earlier times are small. The solution is thus learned forward in
    time.

    Source: Wang, Sankaran & Perdikaris 2022 (arXiv 2203.07404), eq. 2.7, with points in place of time slices.
    """
    order_BM = time_BM.argsort(dim=1)
    sorted_square_BM = square_BM.gather(1, order_BM)
    earlier_sum_BM = (sorted_square_BM.cumsum(1) - sorted_square_BM) / square_BM.shape[1]
    return torch.empty_like(square_BM).scatter(1, order_BM, torch.exp(-causality * earlier_sum_BM))
