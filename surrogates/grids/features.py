"""Normalised inputs of a network on a grid: fields and scalars.

Shape letters: B batch, C channels, K coefficient fields, A non-periodic axes, P parameters, Q conditions,
I = C + K + A inputs; X stands for all sites. Normalised tensors have channels last.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from simsurrogate.spec import cell_fractions
from surrogates.arguments import nonzero_std, set_constants
from surrogates.contract import Problem


class GridInputs(nn.Module):
    """Normalisation of the inputs of a network: fields at each site, and conditions.

    The fields are the normalised state u and coefficient fields a, and the coordinates x of the axes that are
    not periodic. The conditions are the normalised scalar parameters p, and the time unless the equation is
    autonomous.

    Attributes:
        num_fields: the number I of fields.
        num_conditions: the number Q of conditions.
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
        half_duration = () if problem.spec.autonomous else (problem.duration / 2,)
        set_constants(
            self,
            state_mean=np.array(statistics.mean),
            state_std=nonzero_std(statistics.std),
            coefficient_mean=np.array(statistics.coefficient_mean),
            coefficient_std=nonzero_std(statistics.coefficient_std),
            condition_mean=np.array((*statistics.parameter_mean, *half_duration)),
            condition_std=nonzero_std((*statistics.parameter_std, *half_duration)),
            coordinates=_coordinates(problem),
        )
        self.num_fields = (
            len(problem.spec.channels) + len(problem.spec.coefficient_channels) + self.coordinates.shape[-1]
        )
        self.num_conditions = len(self.condition_mean)

    def normalise(self, state_BCX: torch.Tensor) -> torch.Tensor:
        """Return the normalised states (B, *sites, C) of physical states (B, C, *sites)."""
        return (state_BCX.movedim(1, -1) - self.state_mean) / self.state_std

    def denormalise(self, state_BXC: torch.Tensor) -> torch.Tensor:
        """Return the physical states (..., C, *sites) of normalised states (..., *sites, C)."""
        return (state_BXC * self.state_std + self.state_mean).movedim(-1, -self.coordinates.ndim)

    def fields(self, state_BXC: torch.Tensor, fields_BKX: torch.Tensor) -> torch.Tensor:
        """Return the fields (B, *sites, I) of normalised states and physical coefficient fields."""
        return torch.cat([state_BXC, self.static_fields(fields_BKX)], dim=-1)

    def static_fields(self, fields_BKX: torch.Tensor) -> torch.Tensor:
        """Return the fields without the state, (B, *sites, K + A), of physical coefficient fields."""
        fields_BXK = (fields_BKX.movedim(1, -1) - self.coefficient_mean) / self.coefficient_std
        coordinates_BXA = self.coordinates.expand(len(fields_BXK), *self.coordinates.shape)
        return torch.cat([fields_BXK, coordinates_BXA], dim=-1)

    def conditions(self, parameters_BP: torch.Tensor, time_B: torch.Tensor) -> torch.Tensor:
        """Return the conditions (B, Q)."""
        values = parameters_BP if self.autonomous else torch.cat([parameters_BP, time_B[:, None]], dim=-1)
        return (values - self.condition_mean) / self.condition_std


def _coordinates(problem: Problem) -> np.ndarray:
    """Return the cell centres along each non-periodic axis, from -1 to 1 over the domain, (*sites, A)."""
    centres = [2 * cell_fractions(size) - 1 for size in problem.spec.shape]
    grids = np.meshgrid(*centres, indexing="ij")
    coordinates = [
        grid for grid, boundary in zip(grids, problem.spec.boundaries, strict=True) if boundary != "periodic"
    ]
    return np.stack(coordinates, axis=-1) if coordinates else np.empty((*problem.spec.shape, 0))
