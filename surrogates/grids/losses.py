"""The loss that surrogates of grids share."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from simsurrogate.relative_l2 import norm_floor, relative_l2

#: The channels of each field, e.g. `((0,), (1, 2))` for a scalar and a vector of two components.
FieldChannels = tuple[tuple[int, ...], ...]


def relative_error(
    predicted: torch.Tensor,
    truth: torch.Tensor,
    site_axes: tuple[int, ...],
    fields: FieldChannels,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the relative L2 error of each field of normalised states, averaged over fields and other axes.

    mean of  ‖û - u‖ / max(‖u‖, 0.01 √(n d)),    n sites; u in standard deviations about its mean

    The norm of a vector of d components is over sites and components, so the error does not change if the
    axes are turned. Channels are last. With weights w of the values, the same shape as u, it is

    mean of  W/(n d) ‖√w (û - u)‖ / max(‖√w u‖, 0.01 √W),    W = Σ w over sites and components

    A value with the weight 0 has no influence, and a frame counts in proportion to the weights of its values.
    """
    # A list, because torch.compile cannot trace a generator here.
    num_sites = math.prod([truth.shape[axis] for axis in site_axes])
    if weight is not None:
        errors = [
            _weighted_error(
                predicted[..., list(channels)],
                truth[..., list(channels)],
                weight[..., list(channels)],
                (*site_axes, truth.ndim - 1),
            )
            for channels in fields
        ]
        return torch.stack(errors).mean()
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


def _weighted_error(
    predicted: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor, axes: tuple[int, ...]
) -> torch.Tensor:
    """Return the weighted relative L2 error over some axes, see `relative_error`."""
    norm, root = _norm(axes), weight.sqrt()
    total = weight.sum(dim=axes)
    # Without any weight, the error is 0 over the least number.
    floor = (norm_floor((1.0,), 1) * total.sqrt()).clamp_min(torch.finfo(truth.dtype).tiny)
    num_values = math.prod([truth.shape[axis] for axis in axes])
    error = norm(root * (predicted - truth)) / torch.maximum(norm(root * truth), floor)
    return total / num_values * error


def _norm(axes: tuple[int, ...]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the Euclidean norm over some axes."""

    def norm(values: torch.Tensor) -> torch.Tensor:
        norms: torch.Tensor = torch.linalg.vector_norm(values, dim=axes)
        return norms

    return norm
