"""The drift of conserved mean velocities, which the equation leaves free.

Shape letters: M points, D their coordinates, V drifting channels; L stands for the points of a lattice.
"""

from __future__ import annotations

import torch
from torch import nn

from surrogates.contract import Problem
from surrogates.physics.pinn_ansatz import PinnAnsatz


class MeanDrift(nn.Module):
    """The change of the mean velocity over a periodic box, which divergence and curl do not determine.

    The mean is taken over a lattice of 2 `waves` + 1 points along each axis. Such a lattice
    integrates Fourier modes with wave numbers up to 2 `waves` exactly.

    Attributes:
        channels: the indices of the channels of divergence-free velocities with a conserved mean; empty
            where the box has walls.
    """

    lattice: torch.Tensor

    def __init__(self, problem: Problem, waves: int):
        super().__init__()
        velocities = [name for vector in problem.spec.divergence_free_channels for name in vector]
        is_periodic = set(problem.spec.boundaries) == {"periodic"}
        self.channels = [
            problem.spec.channels.index(name)
            for name in velocities
            if is_periodic and name in problem.spec.conserved_channels
        ]
        self.register_buffer("lattice", _lattice(problem, 2 * waves + 1), persistent=False)

    def forward(self, ansatz: PinnAnsatz, inputs_MD: torch.Tensor) -> torch.Tensor:
        """Return the mean change (M, V) at the times and parameters of points, in standard deviations."""
        num_points, (num_lattice_points, num_axes) = len(inputs_MD), self.lattice.shape
        time_and_parameters = inputs_MD[:, None, num_axes:].expand(-1, num_lattice_points, -1)
        lattice_inputs = torch.cat([self.lattice.expand(num_points, -1, -1), time_and_parameters], dim=-1)
        change: torch.Tensor = ansatz(lattice_inputs.flatten(0, 1)) / ansatz.scale
        return change.view(num_points, num_lattice_points, -1)[..., self.channels].mean(1)


def _lattice(problem: Problem, num_points: int) -> torch.Tensor:
    """Return `num_points` points along each axis, (L, axes), equally spaced on the periodic axis."""
    if problem.spec.has_particles:
        return torch.empty(1, 0, dtype=torch.get_default_dtype())
    points_of_axes = [
        axis.lower + axis.extent * torch.arange(num_points) / num_points for axis in problem.spec.axes
    ]
    lattice = torch.cartesian_prod(*points_of_axes)
    return lattice.view(-1, len(points_of_axes)).to(torch.get_default_dtype())
