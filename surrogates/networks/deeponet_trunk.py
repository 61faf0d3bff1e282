"""The trunk of an operator network: functions of space and time that all cases share.

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
from simsurrogate.spec import cell_fractions
from surrogates.contract import Problem
from surrogates.networks import taylor_mode
from surrogates.networks.spectral_convolution import max_modes
from surrogates.networks.taylor_mlp import Perceptron
from surrogates.networks.taylor_mode import Jet, Orders

#: Hidden layers of the perceptron g.
_LAYERS = 2


class Trunk(nn.Module):
    """Products of fixed modes in space and a perceptron of the time.

        φ_jm(x, τ) = τ/(τ + Δt) g_j(τ) e_m1(x) e_m2(y) ...

    The modes e_m of an axis satisfy its boundary conditions. A periodic axis has cos and sin of 2π m x/L for
    |m| < `modes`, which are 2 `modes` - 1 functions. An axis with walls has the same number of functions:
    sin(π m x/L) vanish at dirichlet walls, and cos(π m x/L) have zero slope at neumann walls. The functions φ
    vanish at τ = 0. The modes have derivatives of any order in space, and g has its first derivative in time.

    Data with the same statistics everywhere in a periodic box have exactly these modes as principal
    components. The trunk is then that of the POD-DeepONet of Lu et al. 2022 (arXiv 2111.05512).

    Args:
        problem: the problem, for its grid and time step.
        modes: modes per axis.
        functions: the number J of functions of time.
        width: the width of the hidden layers of g.
        horizon: the longest time τ, s.

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
            limit = max_modes(size, 1.0)
            if not 1 <= count <= limit:
                raise UserError(
                    f"surrogate.modes={count} on axis {problem.spec.axis_names[axis]} is out of range. Its "
                    f"{size} cells resolve 1 to {limit}. Type surrogate.modes={limit}, or refine the grid."
                )
            waves, phases = _waves(problem.spec.boundaries[axis], count)
            angles = np.outer(cell_fractions(size), waves) + phases
            waves = waves / length
            modes_XM, derivatives_XM = np.cos(angles), -waves * np.sin(angles)
            constants = {
                "waves": waves,
                "modes": modes_XM,
                "derivatives": derivatives_XM,
                "projection": modes_XM / np.square(modes_XM).sum(axis=0),
            }
            for name, values in constants.items():
                tensor = torch.tensor(values, dtype=torch.get_default_dtype())
                self.register_buffer(f"{name}_{axis}", tensor, persistent=False)

    def coefficients(self, fields_BXF: torch.Tensor) -> torch.Tensor:
        """Return the amplitudes (B, F, *modes) of the modes in fields (B, *sites, F)."""
        matrices = [self.get_buffer(f"projection_{axis}").T for axis in range(len(self.axes))]
        return apply_per_axis(fields_BXF.movedim(-1, 1), matrices)

    def amplitudes(self, coefficients_BFM: torch.Tensor, duration_BT: torch.Tensor) -> Jet:
        """Return the amplitudes (B, T, C, *modes) of Σ_jm b_jm φ_jm, with their derivative along `t`.

        Args:
            coefficients_BFM: the coefficients b, (B, C J, *modes).
            duration_BT: the times τ, s.
        """
        duration = taylor_mode.coordinate(duration_BT, "t")
        growth = duration / (duration + self.time_step)
        inputs = taylor_mode.stack([2 / self.horizon * duration - 1, 2 * growth - 1])
        functions_BTJ = taylor_mode.stack([growth]) * self.functions.jet(inputs, Orders(("t",), ()))
        batch_size, num_times, num_functions = functions_BTJ.value.shape
        function_coefficients = coefficients_BFM.view(
            batch_size, -1, num_functions, *coefficients_BFM.shape[2:]
        ).transpose(1, 2)
        _, _, num_channels, *mode_shape = function_coefficients.shape
        columns = function_coefficients.reshape(batch_size, num_functions, -1)
        return functions_BTJ.linear(
            lambda values: (values @ columns).view(batch_size, num_times, num_channels, *mode_shape)
        )

    def change(self, coefficients_BFM: torch.Tensor, duration_T: torch.Tensor) -> torch.Tensor:
        """Return the fields (B, T, C, *sites) of Σ_jm b_jm φ_jm at times τ (T,), s, that all cases share."""
        growth_T = duration_T / (duration_T + self.time_step)
        inputs_T2 = torch.stack([2 / self.horizon * duration_T - 1, 2 * growth_T - 1], dim=-1)
        functions_TJ = growth_T[:, None] * self.functions(inputs_T2)
        batch_size, _, *mode_shape = coefficients_BFM.shape
        columns = coefficients_BFM.reshape(batch_size, -1, functions_TJ.shape[1], prod(mode_shape))
        amplitudes = (functions_TJ @ columns).unflatten(-1, mode_shape).transpose(1, 2)
        return apply_per_axis(amplitudes, [self._modes(axis, 0) for axis in range(len(self.axes))])

    def field(self, amplitudes: Any, orders: tuple[int, ...] | None = None) -> Jet:
        """Return the field (..., *sites) with the amplitudes (..., *modes), or one of its derivatives.

        The field has derivatives along all axes, and along `t` if the amplitudes have a derivative along `t`.

        Args:
            amplitudes: a jet or a tensor.
            orders: the order of the derivative along each axis; None for the field itself.
        """
        axis_orders = (0,) * len(self.axes) if orders is None else orders

        @functools.cache
        def along(axis: str) -> Any:
            if axis == "t":
                rates = taylor_mode.derivative(amplitudes, "t")
                return self.field(rates, axis_orders)
            return self.field(
                amplitudes,
                tuple(order + (axis == name) for order, name in zip(axis_orders, self.axes, strict=True)),
            )

        matrices = [self._modes(axis, order) for axis, order in enumerate(axis_orders)]
        return Jet(apply_per_axis(taylor_mode.value(amplitudes), matrices), along)

    def _modes(self, axis: int, order: int) -> torch.Tensor:
        """Return a derivative of the modes of an axis at the cell centres, (sites, modes)."""
        matrix = self.get_buffer(f"{'derivatives' if order % 2 else 'modes'}_{axis}")
        return matrix if order < 2 else matrix * (-self.get_buffer(f"waves_{axis}").square()) ** (order // 2)


def _waves(boundary: str, modes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return wave numbers k and phases p of the modes cos(k s + p) over an axis of length 1."""
    mode_numbers = np.arange(modes)
    if boundary == "periodic":
        waves = np.concatenate([mode_numbers, mode_numbers[1:]])
        return 2 * np.pi * waves, np.where(np.arange(len(waves)) < modes, 0.0, -np.pi / 2)
    half_waves = np.arange(2 * modes - 1) + (boundary == "dirichlet")
    return np.pi * half_waves, np.full(len(half_waves), -np.pi / 2 if boundary == "dirichlet" else 0.0)


def apply_per_axis(values: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return `values` with each of the last axes multiplied by one of the matrices (new size, old size)."""
    for index, matrix in enumerate(matrices):
        axis = index - len(matrices)
        *outer_shape, old_size = values.shape[: values.ndim + axis + 1]
        inner_shape = values.shape[values.ndim + axis + 1 :]
        if not inner_shape:
            values = values @ matrix.T
        else:
            values = (matrix @ values.reshape(-1, old_size, prod(inner_shape))).view(
                *outer_shape, len(matrix), *inner_shape
            )
    return values
