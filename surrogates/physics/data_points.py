"""Random sites and frames of the data, at which a physics-informed surrogate is compared with the data.

Shape letters: B windows, T frames, M points of a window, U random numbers, C channels, D coordinates of a
point, P scalar parameters, S sites; N stands for the bodies of particles.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import nn

from surrogates.contract import Batch, Problem
from surrogates.physics.collocation import QuasiRandomPoints


class DataPoints(nn.Module):
    """Pairs of a site and a later frame of a window; for particles a frame, with all bodies.

    The pairs are spread evenly over sites and frames, and differ from step to step.

    Args:
        problem: the problem, for its sites.
        num_points: the number of pairs of a window.
    """

    #: The random numbers of a window.
    num_random: ClassVar[int] = 2

    sites: torch.Tensor

    def __init__(self, problem: Problem, num_points: int):
        super().__init__()
        self.has_particles = problem.spec.has_particles
        self.unit_square = QuasiRandomPoints([(0.0, 1.0), (0.0, 1.0)], num_points)
        self.register_buffer("sites", site_coordinates(problem), persistent=False)

    def forward(self, batch: Batch, random_BU: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the coordinates and the data of the pairs.

        `later` and `first` (B * M, D) are the coordinates at the later and at the first frame. The change
        `change` (B * M, C, *N) of the state between these frames is in physical units.
        """
        state_BTCS, time_BT = batch["state"].flatten(3), batch["time"]
        num_frames, num_sites = state_BTCS.shape[1], len(self.sites)
        fraction_BMU = self.unit_square(random_BU)
        frame_BM = 1 + (fraction_BMU[..., 0] * (num_frames - 1)).long().clamp_max(num_frames - 2)
        site_BM = (fraction_BMU[..., 1] * num_sites).long().clamp_max(num_sites - 1)
        window_BM = torch.arange(len(state_BTCS), device=site_BM.device)[:, None].expand_as(site_BM)
        if self.has_particles:
            change = state_BTCS[window_BM, frame_BM] - state_BTCS[window_BM, 0]
        else:
            change = state_BTCS[window_BM, frame_BM, :, site_BM] - state_BTCS[window_BM, 0, :, site_BM]
        position, parameters = self.sites[site_BM], batch["parameters"][window_BM]

        def coordinates(time_BM: torch.Tensor) -> torch.Tensor:
            return torch.cat([position, time_BM[..., None], parameters], dim=-1).flatten(0, 1)

        return {
            "later": coordinates(time_BT[window_BM, frame_BM]),
            "first": coordinates(time_BT[window_BM, 0]),
            "change": change.flatten(0, 1),
        }


def site_coordinates(problem: Problem) -> torch.Tensor:
    """Return the cell centres (S, axes); particles are one site without coordinates, (1, 0)."""
    if problem.spec.has_particles:
        return torch.empty(1, 0, dtype=torch.get_default_dtype())
    centres = np.meshgrid(*(axis.centres for axis in problem.spec.axes), indexing="ij")
    coordinates = np.stack(centres, axis=-1).reshape(-1, len(centres))
    return torch.tensor(coordinates, dtype=torch.get_default_dtype())
