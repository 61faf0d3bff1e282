"""The loss that surrogates of grids share."""

from __future__ import annotations

import math

import torch

#: The smallest norm of a frame to divide by, in standard deviations.
_SMALLEST_NORM = 1e-2


def relative_error(predicted: torch.Tensor, truth: torch.Tensor, site_axes: tuple[int, ...]) -> torch.Tensor:
    """Return the relative L2 error over the sites of normalised states, averaged over all other axes.

    mean of  ‖û - u‖ / max(‖u - mean‖, 0.01 std √n),    n the number of sites
    """
    # A list, because torch.compile cannot trace a generator here.
    num_sites = math.prod([truth.shape[axis] for axis in site_axes])
    norm = torch.linalg.vector_norm(truth, dim=site_axes).clamp_min(_SMALLEST_NORM * num_sites**0.5)
    error: torch.Tensor = (torch.linalg.vector_norm(predicted - truth, dim=site_axes) / norm).mean()
    return error
