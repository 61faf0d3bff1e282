"""Convolution with a learned, band-limited kernel, by a truncated Fourier transform.

The transform is a product with a small real matrix along each axis. The product computes only the retained
modes. Real matrix products are the fastest operation of processors. Tensors have sites first, batch and
channels last: the transform of an axis is one product over all later axes, and no tensor is transposed.

Shape letters: B batch, C channels, M retained modes over all axes; 2 is the real and the imaginary part.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from simsurrogate.errors import UserError
from simsurrogate.spec import cell_fractions

#: The largest number of values of a matrix that is repeated for each mode of the earlier axes. A product of a
#: single matrix with several others would repeat the matrix in every call.
_MAX_REPEATED_SIZE = 2**20


class TruncatedFourier(nn.Module):
    """The Fourier transform of a real field on cell centres, truncated to its lowest modes, and its inverse.

        û(k) = 1/N Σ_x u(x) e^{-2πi k·x/P},    u(x) = Σ_k û(k) e^{2πi k·x/P}

    over |k| < `modes` on each axis, with half of the first axis's modes, because the field is real. Lengths
    are in units of the axis. A `period` P of 1 is the transform of a periodic axis. A longer period is the
    transform of the field padded with zeros, evaluated only on the cells, without a padded array.

    Args:
        sites: cells per axis.
        periods: the period P of each axis.
        modes: retained modes per axis, the constant mode included.

    Raises:
        UserError: more modes than the cells of an axis resolve.
    """

    def __init__(self, sites: tuple[int, ...], periods: tuple[float, ...], modes: tuple[int, ...]):
        super().__init__()
        self.sites = sites
        self.num_modes = 1
        for axis, (size, period, count) in enumerate(zip(sites, periods, modes, strict=True)):
            limit = max_modes(size, period)
            if not 1 <= count <= limit:
                raise UserError(
                    f"modes={count} on axis {axis} is out of range. Its {size} cells resolve 1 to {limit}. "
                    f"Type surrogate.modes={limit}, or refine the grid."
                )
            to_modes, to_cells = _matrices(size, period, count, is_first=axis == 0)
            is_repeated = axis > 0 and self.num_modes * to_modes.size <= _MAX_REPEATED_SIZE
            for name, matrix in (("to_modes", to_modes), ("to_cells", to_cells)):
                tensor = torch.tensor(matrix, dtype=torch.get_default_dtype())
                tensor = tensor.repeat(self.num_modes, 1, 1) if is_repeated else tensor
                self.register_buffer(f"{name}_{axis}", tensor, persistent=False)
            self.num_modes *= len(to_modes) // 2

    def analyse(self, field: torch.Tensor) -> torch.Tensor:
        """Return the coefficients (M, 2, B, C) of a field (*sites, B, C)."""
        batch, channels = field.shape[-2:]
        modes = self.get_buffer("to_modes_0") @ field.reshape(self.sites[0], -1)
        num_modes = len(modes) // 2
        for axis in range(1, len(self.sites)):
            matrix = self.get_buffer(f"to_modes_{axis}")
            modes = matrix @ modes.view(num_modes, 2 * self.sites[axis], -1)
            num_modes *= matrix.shape[-2] // 2
        return modes.view(num_modes, 2, batch, channels)

    def synthesise(self, coefficients: torch.Tensor, addend: torch.Tensor) -> torch.Tensor:
        """Return the sum of `addend` (*sites, B, C) and the field with the coefficients (M, 2, B, C)."""
        lines = self._lines(coefficients)
        return torch.addmm(addend.reshape(self.sites[0], -1), self.get_buffer("to_cells_0"), lines).view(
            addend.shape
        )

    def add_synthesis_(self, addend: torch.Tensor, coefficients: torch.Tensor) -> None:
        """Add the field with the coefficients (M, 2, B, C) to the contiguous `addend` (*sites, B, C)."""
        addend.view(self.sites[0], -1).addmm_(self.get_buffer("to_cells_0"), self._lines(coefficients))

    def _lines(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return the synthesis along all axes but the first, (modes and parts of the first axis, others)."""
        num_modes = len(coefficients)
        field = coefficients
        for axis in reversed(range(1, len(self.sites))):
            matrix = self.get_buffer(f"to_cells_{axis}")
            num_modes //= matrix.shape[-1] // 2
            field = matrix @ field.reshape(num_modes, matrix.shape[-1], -1)
        return field.reshape(2 * num_modes, -1)


class SpectralConvolution(nn.Module):
    """A product with one complex matrix per mode, v̂(k) = û(k) W(k).

    The matrices are stored as real and imaginary parts.

    Source: Li et al. 2021, "Fourier Neural Operator for Parametric PDEs", eq. 5.
    """

    signs: torch.Tensor

    def __init__(self, width: int, fourier: TruncatedFourier):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fourier.num_modes, width, 2, width).mul_((2 * width) ** -0.5))
        # Multiplication by i exchanges the real and the imaginary part, with these signs.
        self.register_buffer("signs", torch.tensor([[[-1.0]], [[1.0]]]), persistent=False)

    def forward(self, field: torch.Tensor, fourier: TruncatedFourier, addend: torch.Tensor) -> torch.Tensor:
        """Return the sum of `addend` and the convolution of `field`, both (*sites, B, C)."""
        real_product, imaginary_product = self._products(fourier.analyse(field)).unbind(3)
        return fourier.synthesise(torch.addcmul(real_product, imaginary_product.flip(1), self.signs), addend)

    def add_(self, addend: torch.Tensor, field: torch.Tensor, fourier: TruncatedFourier) -> None:
        """Add the convolution of `field` to `addend`, both contiguous (*sites, B, C), without gradients."""
        products = self._products(fourier.analyse(field))
        products[:, 0, :, 0] -= products[:, 1, :, 1]
        products[:, 1, :, 0] += products[:, 0, :, 1]
        fourier.add_synthesis_(addend, products[:, :, :, 0])

    def _products(self, modes: torch.Tensor) -> torch.Tensor:
        """Return the products (M, part of û, B, part of W, C) of modes (M, part of û, B, C) with W."""
        num_modes, _, batch, channels = modes.shape
        products = modes.view(num_modes, 2 * batch, channels) @ self.weight.flatten(2)
        return products.view(num_modes, 2, batch, 2, channels)


def max_modes(size: int, period: float) -> int:
    """Return the number of modes below the Nyquist mode of `size` cells, the constant mode included."""
    return int(np.ceil(size * period / 2))


def _matrices(size: int, period: float, modes: int, is_first: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the transform of one axis and its inverse as real matrices over (part, cell) and (mode, part).

    The first axis transforms real cells to modes k >= 0. The others transform complex cells to modes of both
    signs.
    """
    wave_numbers = np.arange(modes) if is_first else np.arange(1 - modes, modes)
    angle = 2 * np.pi / period * np.outer(wave_numbers, cell_fractions(size))
    cosine, sine = np.cos(angle), np.sin(angle)
    num_cells = size * period
    if is_first:
        # A real field has each mode twice, as k and as -k, except the constant mode.
        multiplicity = np.where(wave_numbers == 0, 1.0, 2.0)[:, None, None]
        parts = np.stack([cosine, -sine], axis=1)
        return parts.reshape(2 * modes, size) / num_cells, (multiplicity * parts).reshape(2 * modes, size).T
    forward = np.stack([np.stack([cosine, sine], axis=1), np.stack([-sine, cosine], axis=1)], axis=1)
    shape = (2 * len(wave_numbers), 2 * size)
    return forward.reshape(shape) / num_cells, forward.reshape(shape).T
