"""The branch of an operator network: from the fields of a case to the coefficients of the trunk."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from surrogates.contract import Problem
from surrogates.fno import FourierLayer
from surrogates.spectral import TruncatedFourier

#: Period of the Fourier basis on an axis that is not periodic, in units of the axis.
_PERIOD_BETWEEN_WALLS = 1.25


class Branch(nn.Module):
    """Fourier layers (`fno`) between a lifting and a projection that act on each cell alone.

    A shift of all fields along a periodic axis shifts what comes out.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        num_fields: int,
        num_conditions: int,
        num_out: int,
        width: int,
        modes: Sequence[int],
        layers: int,
    ):
        super().__init__()
        periods = tuple(
            1.0 if boundary == "periodic" else _PERIOD_BETWEEN_WALLS for boundary in problem.boundaries
        )
        self.fourier = TruncatedFourier(problem.sites, periods, tuple(modes))
        self.lifting = nn.Sequential(nn.Linear(num_fields, width), nn.GELU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(FourierLayer(width, num_conditions, self.fourier) for _ in range(layers))
        self.projection = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, num_out))

    def forward(self, fields_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """Fields (B, *sites, num_out) from those (B, *sites, num_fields) of each case."""
        hidden_BXW = self.lifting(fields_BXI)
        for layer in self.layers:
            hidden_BXW = layer(hidden_BXW, conditions_BQ, self.fourier)
        out: torch.Tensor = self.projection(hidden_BXW)
        return out
