"""Derivatives of fields that are known only at the cell centres of a grid."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import nn

from surrogates.contract import Problem
from surrogates.networks.taylor_mode import Jet

#: The number of cells of a finite difference, of sixth order in the interior and of at least fifth at walls.
_STENCIL = 7


class GridDerivatives(nn.Module):
    """Differentiation along the axes of a grid.

    Along a periodic axis the derivative is spectral, exact for every resolved wave. Along any other axis it
    is a finite difference of sixth order over 7 cells.
    """

    def __init__(self, problem: Problem):
        super().__init__()
        self.axes = problem.spec.axis_names
        for index, axis in enumerate(problem.spec.axes):
            unit_matrix = (_spectral_matrix if axis.boundary == "periodic" else _difference_matrix)(axis.size)
            matrix = torch.tensor(unit_matrix * (axis.size / axis.extent), dtype=torch.get_default_dtype())
            self.register_buffer(f"derivative_{index}", matrix, persistent=False)

    def jet(self, values: torch.Tensor) -> Jet:
        """Return the values (..., *sites), constant in time, with derivatives of any order along the axes."""

        @functools.cache
        def along(axis: str) -> Any:
            if axis == "t":
                return 0.0
            index = self.axes.index(axis)
            dimension = index - len(self.axes)
            derivative = values.movedim(dimension, -1) @ self.get_buffer(f"derivative_{index}").T
            return self.jet(derivative.movedim(-1, dimension))

        return Jet(values, along)


def _spectral_matrix(size: int) -> np.ndarray:
    """Return the derivative of the trigonometric interpolant through cells of width 1, (size, size)."""
    waves = 2j * np.pi * np.fft.rfftfreq(size)
    if size % 2 == 0:
        waves[-1] = 0.0
    matrix: np.ndarray = np.fft.irfft(waves[:, None] * np.fft.rfft(np.eye(size), axis=0), size, axis=0)
    return matrix


def _difference_matrix(size: int) -> np.ndarray:
    """Return the derivative of the polynomial through the nearest cells of width 1, (size, size)."""
    num_cells = min(_STENCIL, size)
    matrix = np.zeros((size, size))
    for cell in range(size):
        first_cell = min(max(cell - num_cells // 2, 0), size - num_cells)
        offsets = np.arange(first_cell, first_cell + num_cells) - cell
        powers = np.vander(offsets, increasing=True).T.astype(float)
        matrix[cell, first_cell : first_cell + num_cells] = np.linalg.solve(powers, np.eye(num_cells)[1])
    return matrix
