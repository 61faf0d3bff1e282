"""What a network on a grid sees: fields and scalars, normalised.

Shape letters: B batch, C channels, K coefficient fields, A non-periodic axes, P parameters, Q conditions,
I = C + K + A inputs; X stands for all sites. Inside, channels come last.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from surrogates.arguments import nonzero_std, set_constants
from surrogates.contract import Problem


class GridInputs(nn.Module):
    """The normalised state u and coefficient fields a, the coordinates x of the axes that are not periodic,
    and the conditions: the normalised scalar parameters p, and the time unless the equation is autonomous.

    Attributes:
        num_fields, num_conditions: I and Q.
    """

    state_mean: torch.Tensor
    state_std: torch.Tensor
    coefficient_mean: torch.Tensor
    coefficient_std: torch.Tensor
    condition_mean: torch.Tensor
    condition_std: torch.Tensor
    coordinates: torch.Tensor

    def __init__(self, problem: Problem):
        super().__init__()
        self.autonomous = problem.spec.autonomous
        statistics = problem.statistics
        clock = () if problem.spec.autonomous else (problem.duration / 2,)
        set_constants(
            self,
            state_mean=np.array(statistics.mean),
            state_std=nonzero_std(statistics.std),
            coefficient_mean=np.array(statistics.coefficient_mean),
            coefficient_std=nonzero_std(statistics.coefficient_std),
            condition_mean=np.array((*statistics.parameter_mean, *clock)),
            condition_std=nonzero_std((*statistics.parameter_std, *clock)),
            coordinates=_coordinates(problem),
        )
        self.num_fields = (
            len(problem.spec.channels) + len(problem.spec.coefficient_channels) + self.coordinates.shape[-1]
        )
        self.num_conditions = len(self.condition_mean)

    def normal(self, state_BCX: torch.Tensor) -> torch.Tensor:
        """States (B, C, *sites) as (B, *sites, C), normalised."""
        return (state_BCX.movedim(1, -1) - self.state_mean) / self.state_std

    def physical(self, state_BXC: torch.Tensor) -> torch.Tensor:
        """The inverse of `normal`."""
        return (state_BXC * self.state_std + self.state_mean).movedim(-1, 1)

    def fields(self, state_BXC: torch.Tensor, coefficients_BKX: torch.Tensor) -> torch.Tensor:
        """What the network sees at each site, (B, *sites, I), beside normalised states."""
        fields = (coefficients_BKX.movedim(1, -1) - self.coefficient_mean) / self.coefficient_std
        coordinates = self.coordinates.expand(len(fields), *self.coordinates.shape)
        return torch.cat([state_BXC, fields, coordinates], dim=-1)

    def conditions(self, parameters_BP: torch.Tensor, time_B: torch.Tensor) -> torch.Tensor:
        """What the network sees of parameters and time, (B, Q)."""
        raw = parameters_BP if self.autonomous else torch.cat([parameters_BP, time_B[:, None]], dim=-1)
        return (raw - self.condition_mean) / self.condition_std


def _coordinates(problem: Problem) -> np.ndarray:
    """The cell centres along each non-periodic axis, from -1 to 1 over the domain, (*sites, A)."""
    centres = [(2 * np.arange(size) + 1) / size - 1 for size in problem.spec.shape]
    grids = np.meshgrid(*centres, indexing="ij")
    walled = [
        grid for grid, boundary in zip(grids, problem.spec.boundaries, strict=True) if boundary != "periodic"
    ]
    return np.stack(walled, axis=-1) if walled else np.empty((*problem.spec.shape, 0))
