"""The loss that surrogates of grids share."""

from __future__ import annotations

import math

import torch

from simsurrogate.relative_l2 import relative_l2

#: The smallest norm of a frame that divides an error, in standard deviations.
_FLOOR = 1e-2


def relative_error(predicted: torch.Tensor, truth: torch.Tensor, site_axes: tuple[int, ...]) -> torch.Tensor:
    """Return the relative L2 error over the sites of normalised states, averaged over all other axes.

    mean of  ‖û - u‖ / max(‖u‖, 0.01 √n),    n sites; u in standard deviations about its mean
    """
    # A list, because torch.compile cannot trace a generator here.
    num_sites = math.prod([truth.shape[axis] for axis in site_axes])

    def norm(values: torch.Tensor) -> torch.Tensor:
        norms: torch.Tensor = torch.linalg.vector_norm(values, dim=site_axes)
        return norms

    return relative_l2(predicted, truth, norm, _FLOOR * num_sites**0.5).mean()
