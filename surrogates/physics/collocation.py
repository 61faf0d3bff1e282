"""The points at which an equation is asked for: quasi-random, more of them where it is not yet met, and
weights that wait for what comes first.

Shape letters: B windows, M points of a window, D coordinates of a point.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from surrogates.physics import deepxde_adapter


class EvenPoints(nn.Module):
    """Points of a box, a set for each window of a batch, that follow from the window's random numbers alone.

    A set is the Hammersley points, moved by the random numbers and wrapped around the ends of the box: they
    fill it evenly, and lie elsewhere at each step (Cranley & Patterson 1976, doi:10.1137/0713071).
    """

    even: torch.Tensor
    low: torch.Tensor
    extent: torch.Tensor

    def __init__(self, box: Sequence[tuple[float, float]], num_points: int):
        super().__init__()
        dtype = torch.get_default_dtype()
        low, high = torch.tensor(box, dtype=dtype).T
        even = torch.tensor(deepxde_adapter.points(num_points, len(box)), dtype=dtype)
        for name, values in {"even": even, "low": low, "extent": high - low}.items():
            self.register_buffer(name, values, persistent=False)

    def forward(self, uniform_BD: torch.Tensor) -> torch.Tensor:
        """The points (B, M, D), from as many random numbers a window as the box has axes."""
        return self.low + self.extent * ((self.even + uniform_BD[:, None]) % 1)


def preferred(
    points_BMD: torch.Tensor, size_BM: torch.Tensor, uniform_B: torch.Tensor, number: int
) -> torch.Tensor:
    """`number` points of each window, where the residual is large more of them; (B, number, D).

    A point whose residual has the size r is chosen with (r / mean r + 1) / 2 times the probability of an even
    choice. One random number and even steps from it, along the sum of the probabilities, make the choice: a
    way with little noise.

    Source: Wu, Zhu, Tan, Kartha & Lu 2023 (doi:10.1016/j.cma.2022.115671), RAD with k = 1 and c = 1.
    """
    mean_B1 = size_BM.mean(1, keepdim=True)
    weight_BM = torch.where(mean_B1 > 0, size_BM / mean_B1, 1.0) + 1
    share_BM = weight_BM.cumsum(1) / weight_BM.sum(1, keepdim=True)
    steps = torch.arange(number).to(share_BM)
    chosen = torch.searchsorted(share_BM, (steps + uniform_B[:, None]) / number)
    chosen = chosen.clamp_max(share_BM.shape[1] - 1)
    return torch.gather(points_BMD, 1, chosen[..., None].expand(-1, -1, points_BMD.shape[2]))


def causal_weights(time_BM: torch.Tensor, square_BM: torch.Tensor, causality: float) -> torch.Tensor:
    """The weight of each point, (B, M), by the squares of the residuals of its window that are earlier.

        w(t) = exp(-causality (sum of r² before t) / M)

    so that a solution grows from the start on: what comes later counts when what it follows from is right.

    Source: Wang, Sankaran & Perdikaris 2022 (arXiv 2203.07404), eq. 2.7, by points and not by slices of time.
    """
    order_BM = time_BM.argsort(dim=1)
    sorted_BM = square_BM.gather(1, order_BM)
    before_BM = (sorted_BM.cumsum(1) - sorted_BM) / square_BM.shape[1]
    return torch.empty_like(square_BM).scatter(1, order_BM, torch.exp(-causality * before_BM))
