"""The means that an equation leaves free: how far a network lets them drift.

Shape letters: M points, D their coordinates, V channels of velocities; L stands for the points of a lattice.
"""

from __future__ import annotations

import torch
from torch import nn

from surrogates.contract import Problem
from surrogates.physics.pinn_ansatz import Change


class Drift(nn.Module):
    """The change of the mean velocity over a periodic box, which its divergence and its curl do not tell.

    The mean is taken over a lattice of 2 `waves` + 1 points an axis, which is exact for that many waves.

    Attributes:
        channels: the places of the channels of velocities without divergence whose means never change; none
            where a wall holds them.
    """

    lattice: torch.Tensor

    def __init__(self, problem: Problem, waves: int):
        super().__init__()
        velocities = [name for vector in problem.spec.divergence_free_channels for name in vector]
        is_free = set(problem.spec.boundaries) == {"periodic"}
        self.channels = [
            problem.spec.channels.index(name)
            for name in velocities
            if is_free and name in problem.spec.conserved_channels
        ]
        self.register_buffer("lattice", _lattice(problem, 2 * waves + 1), persistent=False)

    def forward(self, change: Change, inputs_MD: torch.Tensor) -> torch.Tensor:
        """The mean change, in standard deviations, (M, V), at the times and parameters of points."""
        size, (number, num_axes) = len(inputs_MD), self.lattice.shape
        others = inputs_MD[:, None, num_axes:].expand(-1, number, -1)
        lattice = torch.cat([self.lattice.expand(size, -1, -1), others], dim=-1)
        moved: torch.Tensor = change(lattice.flatten(0, 1)) / change.scale
        return moved.view(size, number, -1)[..., self.channels].mean(1)


def _lattice(problem: Problem, number: int) -> torch.Tensor:
    """`number` points an axis (L, axes), as far apart across the ends as between."""
    if problem.spec.has_particles:
        return torch.empty(1, 0, dtype=torch.get_default_dtype())
    of_axes = zip(problem.spec.lower, problem.spec.extent, strict=True)
    axes = [lower + extent * torch.arange(number) / number for lower, extent in of_axes]
    return torch.cartesian_prod(*axes).view(-1, len(axes)).to(torch.get_default_dtype())
