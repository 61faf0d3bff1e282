"""The trunk of an operator network: functions of place and time that all cases share.

Shape letters: B batch, T times, C channels, J functions of time, F = C J; M stands for the modes of all axes,
X for all sites.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn

from simsurrogate.errors import UserError
from surrogates.contract import Problem
from surrogates.networks import taylor_mode
from surrogates.networks.spectral_convolution import most_modes
from surrogates.networks.taylor_mlp import Perceptron
from surrogates.networks.taylor_mode import Jet, Orders

#: Layers of the perceptron of the time.
_LAYERS = 2


class Trunk(nn.Module):
    """φ_jm(x, τ) = τ/(τ + Δt) g_j(τ) e_m1(x) e_m2(y) ..., with g a perceptron of the time.

    The e_m are the modes of an axis that fit its ends: cos and sin of 2π m x/L for |m| < `modes` where it is
    periodic, as many sin(π m x/L) between dirichlet walls, where they vanish, and as many cos(π m x/L)
    between neumann walls, where their slopes do. φ vanishes at τ = 0. Modes have derivatives of any order in
    space, and g has its first in time.

    Data whose statistics are the same everywhere in a periodic box have exactly these modes as their
    principal components: there, this is the trunk of the POD-DeepONet of Lu et al. 2022 (arXiv 2111.05512).

    Args:
        problem: whose grid it is.
        modes: one number an axis.
        functions: the number J of functions of time.
        width: of the hidden layers of g.
        horizon: the longest time τ that is asked for, s.

    Raises:
        UserError: more modes than the cells of an axis resolve.
    """

    def __init__(self, problem: Problem, modes: Sequence[int], *, functions: int, width: int, horizon: float):
        super().__init__()
        self.axes = problem.spec.axis_names
        self.horizon = horizon
        self.time_step = problem.time_step
        self.functions = Perceptron(2, functions, width=width, layers=_LAYERS)
        for axis, count in enumerate(modes):
            size, length = problem.spec.shape[axis], problem.spec.extent[axis]
            limit = most_modes(size, 1.0)
            if not 1 <= count <= limit:
                raise UserError(
                    f"surrogate.modes={count} on axis {problem.spec.axis_names[axis]}, whose {size} cells "
                    f"resolve 1 to {limit}: choose fewer, or refine the grid"
                )
            waves, phases = _waves(problem.spec.boundaries[axis], count)
            angles = np.outer((np.arange(size) + 0.5) / size, waves) + phases
            waves = waves / length
            modes_XM, slopes_XM = np.cos(angles), -waves * np.sin(angles)
            constants = {
                "waves": waves,
                "modes": modes_XM,
                "slopes": slopes_XM,
                "projection": modes_XM / np.square(modes_XM).sum(axis=0),
            }
            for name, values in constants.items():
                tensor = torch.tensor(values, dtype=torch.get_default_dtype())
                self.register_buffer(f"{name}_{axis}", tensor, persistent=False)

    def coefficients(self, fields_BXF: torch.Tensor) -> torch.Tensor:
        """The amplitudes (B, F, *modes) of the modes in fields (B, *sites, F)."""
        matrices = [self.get_buffer(f"projection_{axis}").T for axis in range(len(self.axes))]
        return mapped(fields_BXF.movedim(-1, 1), matrices)

    def amplitudes(self, coefficients_BFM: torch.Tensor, later_BT: torch.Tensor) -> Jet:
        """Those of the modes in the sums of all φ with coefficients (B, C J, *modes), at the times τ (B, T):
        (B, T, C, *modes), with their derivative along `t`.
        """
        later = taylor_mode.coordinate(later_BT, "t")
        grown = later / (later + self.time_step)
        inputs = taylor_mode.stack([2 / self.horizon * later - 1, 2 * grown - 1])
        functions_BTJ = taylor_mode.stack([grown]) * self.functions.jet(inputs, Orders(("t",), ()))
        size, times, num_functions = functions_BTJ.value.shape
        by_function = coefficients_BFM.view(size, -1, num_functions, *coefficients_BFM.shape[2:]).transpose(
            1, 2
        )
        _, _, channels, *modes = by_function.shape
        columns = by_function.reshape(size, num_functions, -1)
        return functions_BTJ.linear(lambda values: (values @ columns).view(size, times, channels, *modes))

    def field(self, amplitudes: Any, orders: tuple[int, ...] | None = None) -> Jet:
        """The field (..., *sites) with the amplitudes (..., *modes) of the modes, or its derivative of
        `orders` along the axes; with its own derivatives along them, and along `t` where the amplitudes have
        theirs.
        """
        of_axes = (0,) * len(self.axes) if orders is None else orders

        @functools.cache
        def along(axis: str) -> Any:
            if axis == "t":
                slopes = taylor_mode.derivative(amplitudes, "t")
                return self.field(slopes, of_axes)
            return self.field(
                amplitudes,
                tuple(order + (axis == name) for order, name in zip(of_axes, self.axes, strict=True)),
            )

        matrices = [self._modes(axis, order) for axis, order in enumerate(of_axes)]
        return Jet(mapped(taylor_mode.value(amplitudes), matrices), along)

    def _modes(self, axis: int, order: int) -> torch.Tensor:
        """The derivative of an order of the modes of an axis at the cell centres, (sites, modes)."""
        lowest = self.get_buffer(f"{'slopes' if order % 2 else 'modes'}_{axis}")
        return lowest if order < 2 else lowest * (-self.get_buffer(f"waves_{axis}").square()) ** (order // 2)


def _waves(boundary: str, modes: int) -> tuple[np.ndarray, np.ndarray]:
    """Wave numbers k and phases p of the modes cos(k s + p) over an axis of length 1."""
    count = np.arange(modes)
    if boundary == "periodic":
        waves = np.concatenate([count, count[1:]])
        return 2 * np.pi * waves, np.where(np.arange(len(waves)) < modes, 0.0, -np.pi / 2)
    half_waves = np.arange(2 * modes - 1) + (boundary == "dirichlet")
    return np.pi * half_waves, np.full(len(half_waves), -np.pi / 2 if boundary == "dirichlet" else 0.0)


def mapped(values: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Each of the last axes of `values` multiplied by its matrix (new, old)."""
    for place, matrix in enumerate(matrices):
        axis = place - len(matrices)
        *outer, old = values.shape[: values.ndim + axis + 1]
        inner = values.shape[values.ndim + axis + 1 :]
        if not inner:
            values = values @ matrix.T
        else:
            values = (matrix @ values.reshape(-1, old, prod(inner))).view(*outer, len(matrix), *inner)
    return values
