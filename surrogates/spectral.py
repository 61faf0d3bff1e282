"""Convolution with a learned, band-limited kernel, by a truncated Fourier transform.

The transform is a product with a small real matrix along each axis: only the kept modes are computed,
and real matrix products are what processors do best.

Shape letters: B batch, C channels, M kept modes over all axes; 2 is the real and the imaginary part.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import nn


class TruncatedFourier(nn.Module):
    """The lowest Fourier modes of a real field on cell centres, and back.

        û(k) = 1/N Σ_x u(x) e^{-2πi k·x/P},    u(x) = Σ_k û(k) e^{2πi k·x/P}

    over |k| < `modes` on each axis, with half of the last axis's modes, as the field is real. Lengths
    are in units of the axis. A `period` P of 1 is the transform of a periodic axis. A longer one is
    that of the field followed by zeros, evaluated on the cells alone: no padded array is ever made.

    Raises:
        ValueError: more modes than the cells of an axis resolve.
    """

    def __init__(self, sites: tuple[int, ...], periods: tuple[float, ...], modes: tuple[int, ...]):
        super().__init__()
        self.num_modes = prod(2 * count - 1 for count in modes[:-1]) * modes[-1]
        last = len(sites) - 1
        for axis, (size, period, count) in enumerate(zip(sites, periods, modes, strict=True)):
            limit = most_modes(size, period)
            if not 1 <= count <= limit:
                raise ValueError(
                    f"modes={count} on axis {axis}, whose {size} cells resolve 1 to {limit}: "
                    f"set surrogate.modes to {limit} or less, or refine the grid"
                )
            to_modes, to_cells = _matrices(size, period, count, is_last=axis == last)
            for name, matrix in (("to_modes", to_modes), ("to_cells", to_cells)):
                tensor = torch.tensor(matrix, dtype=torch.get_default_dtype())
                self.register_buffer(f"{name}_{axis}", tensor, persistent=False)

    def analyse(self, field: torch.Tensor) -> torch.Tensor:
        """The coefficients (M, 2, B, C) of a field (B, *sites, C)."""
        batch, *sites, channels = field.shape
        kept = 1
        for axis in reversed(range(len(sites))):
            matrix = self.get_buffer(f"to_modes_{axis}")
            field = matrix @ field.reshape(batch * prod(sites[:axis]), matrix.shape[1], kept * channels)
            kept *= matrix.shape[0] // 2
        return field.reshape(batch, 2, kept, channels).permute(2, 1, 0, 3)

    def synthesise(self, coefficients: torch.Tensor, sites: tuple[int, ...]) -> torch.Tensor:
        """The field (B, *sites, C) that has the coefficients (M, 2, B, C)."""
        kept, _, batch, channels = coefficients.shape
        field = coefficients.permute(2, 1, 0, 3)
        for axis in range(len(sites)):
            matrix = self.get_buffer(f"to_cells_{axis}")
            kept //= matrix.shape[1] // 2
            field = matrix @ field.reshape(batch * prod(sites[:axis]), matrix.shape[1], kept * channels)
        return field.reshape(batch, *sites, channels)


class SpectralConvolution(nn.Module):
    """v̂(k) = û(k) W(k) with one complex matrix W(k) a mode, kept as real and imaginary part.

    Source: Li et al. 2021, "Fourier Neural Operator for Parametric PDEs", eq. 5.
    """

    def __init__(self, width: int, fourier: TruncatedFourier):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fourier.num_modes, width, 2, width) * (2 * width) ** -0.5)

    def forward(self, field: torch.Tensor, fourier: TruncatedFourier) -> torch.Tensor:
        """A field (B, *sites, C) of the same shape."""
        _, *sites, channels = field.shape
        modes = fourier.analyse(field)
        count, _, batch, _ = modes.shape
        products = modes.reshape(count, 2 * batch, channels) @ self.weight.flatten(2)
        parts = products.view(count, 2, batch, 2, channels)
        real = parts[:, 0, :, 0] - parts[:, 1, :, 1]
        imaginary = parts[:, 0, :, 1] + parts[:, 1, :, 0]
        return fourier.synthesise(torch.stack([real, imaginary], dim=1), tuple(sites))


def most_modes(size: int, period: float) -> int:
    """How many modes, the constant one included, `size` cells resolve: all below the Nyquist mode."""
    return int(np.ceil(size * period / 2))


def _matrices(size: int, period: float, modes: int, is_last: bool) -> tuple[np.ndarray, np.ndarray]:
    """The transform of one axis and its inverse as real matrices over (part, cell) and (part, mode).

    The last axis starts from real cells (size -> 2 modes) and keeps k >= 0; the others turn complex
    cells, with the part behind the cell, into modes of both signs, with the part before the mode.
    """
    wave_numbers = np.arange(modes) if is_last else np.arange(1 - modes, modes)
    centres = (np.arange(size) + 0.5) / size
    angle = 2 * np.pi / period * np.outer(wave_numbers, centres)
    cosine, sine = np.cos(angle), np.sin(angle)
    num_cells = size * period
    if is_last:
        # A real field holds each mode twice, as k and as -k, except the constant one.
        twice = np.where(wave_numbers == 0, 1.0, 2.0)[:, None]
        return (
            np.concatenate([cosine, -sine]) / num_cells,
            np.concatenate([twice * cosine, -twice * sine]).T,
        )
    forward = np.stack([np.stack([cosine, sine], axis=-1), np.stack([-sine, cosine], axis=-1)])
    backward = np.stack([np.stack([cosine, -sine]), np.stack([sine, cosine])])
    return (
        forward.reshape(2 * len(wave_numbers), 2 * size) / num_cells,
        backward.transpose(3, 0, 1, 2).reshape(2 * size, 2 * len(wave_numbers)),
    )
