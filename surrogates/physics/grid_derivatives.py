"""Derivatives of fields that are known at the cell centres alone."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import nn

from surrogates.contract import Problem
from surrogates.networks.taylor_mode import Jet

#: Neighbours in a difference, itself included: of sixth order in the inside, of fifth or more at the walls.
_STENCIL = 7


class Sampled(nn.Module):
    """Fields on a grid as jets, constant in time: exact for waves that a periodic axis resolves, and by
    differences over 7 cells, of sixth order, on any other.
    """

    def __init__(self, problem: Problem):
        super().__init__()
        self.axes = problem.spec.axis_names
        for axis, boundary in enumerate(problem.spec.boundaries):
            size, length = problem.spec.shape[axis], problem.spec.extent[axis]
            build = _fourier if boundary == "periodic" else _differences
            matrix = torch.tensor(build(size) * (size / length), dtype=torch.get_default_dtype())
            self.register_buffer(f"derivative_{axis}", matrix, persistent=False)

    def jet(self, values: torch.Tensor) -> Jet:
        """Values (..., *sites) and their derivatives along the axes, of any order."""

        @functools.cache
        def along(axis: str) -> Any:
            if axis == "t":
                return 0.0
            place = self.axes.index(axis) - len(self.axes)
            turned = values.movedim(place, -1) @ self.get_buffer(f"derivative_{self.axes.index(axis)}").T
            return self.jet(turned.movedim(-1, place))

        return Jet(values, along)


def _fourier(size: int) -> np.ndarray:
    """The derivative of the trigonometric interpolant through cells of width 1, (size, size)."""
    waves = 2j * np.pi * np.fft.rfftfreq(size)
    if size % 2 == 0:
        waves[-1] = 0.0
    matrix: np.ndarray = np.fft.irfft(waves[:, None] * np.fft.rfft(np.eye(size), axis=0), size, axis=0)
    return matrix


def _differences(size: int) -> np.ndarray:
    """The derivative of the polynomial through the nearest cells of width 1, (size, size)."""
    count = min(_STENCIL, size)
    matrix = np.zeros((size, size))
    for cell in range(size):
        first = min(max(cell - count // 2, 0), size - count)
        offsets = np.arange(first, first + count) - cell
        powers = np.vander(offsets, increasing=True).T.astype(float)
        matrix[cell, first : first + count] = np.linalg.solve(powers, np.eye(count)[1])
    return matrix
