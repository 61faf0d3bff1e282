"""The Fourier neural operator as a map over one time step, on 1-D, 2-D and 3-D grids.

Shape letters: B batch, I inputs, C channels, Q conditions, W width; X stands for all sites. Inside, sites
come first: see `spectral`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from surrogates.constraints import Constraint
from surrogates.contract import Problem
from surrogates.film import FiLM
from surrogates.spectral import SpectralConvolution, TruncatedFourier
from surrogates.stepper import Stepper

#: Period of the Fourier basis on an axis that is not periodic, in units of the axis.
_PERIOD_BETWEEN_WALLS = 1.25


class FNO(Stepper):
    """Fourier layers between a lifting and a projection that act on each cell alone.

        h ← h + V gelu(FiLM(K h + W h, p)),    (K h)^(k) = R(k) ĥ(k) for |k| < modes

    On an axis that is not periodic the Fourier basis has a period of 1.25 axes, so that its two ends
    are apart, and is evaluated on the cells only. The weights do not depend on the number of cells.

    Options:
        width: channels of the hidden field.
        modes: kept Fourier modes, the constant one included; one number, or one an axis.
        layers: Fourier layers.
        constraints: what holds exactly, see `Constraints`.

    Raises:
        ValueError: more modes than the grid resolves, a list of modes that does not fit the axes, or a
            constraint of no use.

    Source: Li et al. 2021, "Fourier Neural Operator for Parametric PDEs" (arXiv 2010.08895).
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int,
        modes: int | Sequence[int],
        layers: int,
        constraints: Sequence[Constraint] = (),
    ):
        super().__init__(problem, constraints)
        num_axes = len(problem.sites)
        counts = (modes,) * num_axes if isinstance(modes, int) else tuple(modes)
        if len(counts) != num_axes:
            raise ValueError(
                f"surrogate.modes={list(counts)} has {len(counts)} numbers for the {num_axes} axes "
                f"{', '.join(problem.axes)}: give one an axis, or a single number"
            )
        if width < 1 or layers < 1:
            raise ValueError(f"surrogate.width={width} and surrogate.layers={layers} must be at least 1")
        periods = tuple(
            1.0 if boundary == "periodic" else _PERIOD_BETWEEN_WALLS for boundary in problem.boundaries
        )
        self.fourier = TruncatedFourier(problem.sites, periods, counts)
        self.lifting = nn.Sequential(nn.Linear(self.num_inputs, width), nn.GELU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(
            FourierLayer(width, self.num_conditions, self.fourier) for _ in range(layers)
        )
        self.projection = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, len(problem.channels))
        )

    def change(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """The normalised change over one time step, (B, *sites, C)."""
        hidden_XBW = self.lifting(inputs_BXI.movedim(0, -2).contiguous())
        for layer in self.layers:
            hidden_XBW = layer(hidden_XBW, conditions_BQ, self.fourier)
        change_XBC: torch.Tensor = self.projection(hidden_XBW)
        return change_XBC.movedim(-2, 0)


class FourierLayer(nn.Module):
    """h + V gelu(FiLM(K h + W h + b, p)): a non-local and a local linear map, and a non-linearity.

    V has no constant of its own: the next layer's b and the projection make up for any.
    """

    def __init__(self, width: int, num_conditions: int, fourier: TruncatedFourier):
        super().__init__()
        self.spectral = SpectralConvolution(width, fourier)
        self.local = nn.Linear(width, width)
        self.film = FiLM(num_conditions, width)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, hidden_XBW: torch.Tensor, conditions_BQ: torch.Tensor, fourier: TruncatedFourier
    ) -> torch.Tensor:
        """The next hidden field, (*sites, B, W)."""
        mixed = self.spectral(hidden_XBW, fourier, onto=self.local(hidden_XBW))
        active = nn.functional.gelu(self.film(mixed, conditions_BQ))
        # One product that adds: h + V a.
        next_hidden = torch.addmm(hidden_XBW.flatten(0, -2), active.flatten(0, -2), self.out.weight.T)
        return next_hidden.view_as(hidden_XBW)
