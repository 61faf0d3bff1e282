"""Sites and frames of the data at which a surrogate that answers any point is compared with them.

Shape letters: B windows, T frames, M points of a window, U random numbers, C channels, D coordinates of a
point, P scalar parameters, S sites; N stands for the bodies of particles.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import nn

from surrogates.contract import Batch, Problem
from surrogates.physics.collocation import EvenPoints


class Observations(nn.Module):
    """A site and a later frame of a window for each of `num_points`; of particles a frame, with all bodies.

    They are spread evenly over sites and frames, and lie elsewhere at each step, by its random numbers.
    """

    #: Random numbers that a window needs.
    num_random: ClassVar[int] = 2

    sites: torch.Tensor

    def __init__(self, problem: Problem, num_points: int):
        super().__init__()
        self.has_particles = problem.spec.has_particles
        self.places = EvenPoints([(0.0, 1.0), (0.0, 1.0)], num_points)
        self.register_buffer("sites", site_coordinates(problem), persistent=False)

    def forward(self, batch: Batch, uniform_BU: torch.Tensor) -> dict[str, torch.Tensor]:
        """Coordinates `then` and, at a window's first frame, `before` (B * M, D), and the `change` of the
        state between them (B * M, C, *N), in physical units.
        """
        state_BTCS, time_BT = batch["state"].flatten(3), batch["time"]
        num_frames, num_sites = state_BTCS.shape[1], len(self.sites)
        share_BMP = self.places(uniform_BU)
        number_BM = 1 + (share_BMP[..., 0] * (num_frames - 1)).long().clamp_max(num_frames - 2)
        site_BM = (share_BMP[..., 1] * num_sites).long().clamp_max(num_sites - 1)
        window_BM = torch.arange(len(state_BTCS), device=site_BM.device)[:, None].expand_as(site_BM)
        if self.has_particles:
            change = state_BTCS[window_BM, number_BM] - state_BTCS[window_BM, 0]
        else:
            change = state_BTCS[window_BM, number_BM, :, site_BM] - state_BTCS[window_BM, 0, :, site_BM]
        at, told = self.sites[site_BM], batch["parameters"][window_BM]

        def inputs(time_BM: torch.Tensor) -> torch.Tensor:
            return torch.cat([at, time_BM[..., None], told], dim=-1).flatten(0, 1)

        return {
            "then": inputs(time_BT[window_BM, number_BM]),
            "before": inputs(time_BT[window_BM, 0]),
            "change": change.flatten(0, 1),
        }


def site_coordinates(problem: Problem) -> torch.Tensor:
    """The cell centres (S, axes); particles are one site without coordinates."""
    if problem.spec.has_particles:
        return torch.empty(1, 0, dtype=torch.get_default_dtype())
    centres = [
        lower + extent * (np.arange(size) + 0.5) / size
        for lower, extent, size in zip(
            problem.spec.lower, problem.spec.extent, problem.spec.shape, strict=True
        )
    ]
    grids = np.meshgrid(*centres, indexing="ij")
    return torch.tensor(np.stack(grids, axis=-1).reshape(-1, len(centres)), dtype=torch.get_default_dtype())
