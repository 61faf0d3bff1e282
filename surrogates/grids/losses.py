"""The loss that surrogates of grids share."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from simsurrogate.relative_l2 import norm_floor, relative_l2

#: The channels of each field, e.g. `((0,), (1, 2))` for a scalar and a vector of two components.
FieldChannels = tuple[tuple[int, ...], ...]


def relative_error(
    predicted: torch.Tensor, truth: torch.Tensor, site_axes: tuple[int, ...], fields: FieldChannels
) -> torch.Tensor:
    """Return the relative L2 error of each field of normalised states, averaged over fields and other axes.

    mean of  ‖û - u‖ / max(‖u‖, 0.01 √(n d)),    n sites; u in standard deviations about its mean

    The norm of a vector of d components is over sites and components, so the error does not change if the
    axes are turned. Channels are last.
    """
    # A list, because torch.compile cannot trace a generator here.
    num_sites = math.prod([truth.shape[axis] for axis in site_axes])
    if all(len(channels) == 1 for channels in fields):
        return relative_l2(predicted, truth, _norm(site_axes), norm_floor((1.0,), num_sites)).mean()
    errors = [
        relative_l2(
            predicted[..., list(channels)],
            truth[..., list(channels)],
            _norm((*site_axes, truth.ndim - 1)),
            norm_floor((1.0,) * len(channels), num_sites),
        )
        for channels in fields
    ]
    return torch.stack(errors).mean()


def _norm(axes: tuple[int, ...]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the Euclidean norm over some axes."""

    def norm(values: torch.Tensor) -> torch.Tensor:
        norms: torch.Tensor = torch.linalg.vector_norm(values, dim=axes)
        return norms

    return norm
