"""The loss that the surrogates of grids share."""

from __future__ import annotations

import math

import torch

#: Bound below on a frame's norm, in standard deviations.
_SMALLEST_NORM = 1e-2


def relative_error(found: torch.Tensor, truth: torch.Tensor, site_axes: tuple[int, ...]) -> torch.Tensor:
    """The relative L2 error over the sites of normalised states, a mean over all that is no site:

    mean of  ‖û - u‖ / max(‖u - mean‖, 0.01 std √n)
    """
    # A list, as torch.compile cannot follow a generator here.
    num_sites = math.prod([truth.shape[axis] for axis in site_axes])
    norm = torch.linalg.vector_norm(truth, dim=site_axes).clamp_min(_SMALLEST_NORM * num_sites**0.5)
    error: torch.Tensor = (torch.linalg.vector_norm(found - truth, dim=site_axes) / norm).mean()
    return error
