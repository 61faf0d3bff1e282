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
from surrogates.networks.spectral_convolution import most_modes
from surrogates.networks.taylor_mlp import Perceptron
from surrogates.networks.taylor_mode import Jet, Orders

#: Hidden layers of the perceptron g.
_LAYERS = 2


class Trunk(nn.Module):
    """φ_jm(x, τ) = τ/(τ + Δt) g_j(τ) e_m1(x) e_m2(y) ..., with a perceptron g of the time.

    The modes e_m of an axis fulfil its boundary conditions. A periodic axis has cos and sin of 2π m x/L for
    |m| < `modes`. Between dirichlet walls there are as many sin(π m x/L), which vanish at the walls. Between
    neumann walls there are as many cos(π m x/L), which have zero slope at the walls. φ vanishes at τ = 0. The
    modes have derivatives of any order in space, and g has its first derivative in time.

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
            limit = most_modes(size, 1.0)
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
        size, times, num_functions = functions_BTJ.value.shape
        by_function = coefficients_BFM.view(size, -1, num_functions, *coefficients_BFM.shape[2:]).transpose(
            1, 2
        )
        _, _, channels, *modes = by_function.shape
        columns = by_function.reshape(size, num_functions, -1)
        return functions_BTJ.linear(lambda values: (values @ columns).view(size, times, channels, *modes))

    def field(self, amplitudes: Any, orders: tuple[int, ...] | None = None) -> Jet:
        """Return the field (..., *sites) with the amplitudes (..., *modes), or one of its derivatives.

        The field has derivatives along all axes, and along `t` if the amplitudes have one.

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
        lowest = self.get_buffer(f"{'derivatives' if order % 2 else 'modes'}_{axis}")
        return lowest if order < 2 else lowest * (-self.get_buffer(f"waves_{axis}").square()) ** (order // 2)


def _waves(boundary: str, modes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return wave numbers k and phases p of the modes cos(k s + p) over an axis of length 1."""
    count = np.arange(modes)
    if boundary == "periodic":
        waves = np.concatenate([count, count[1:]])
        return 2 * np.pi * waves, np.where(np.arange(len(waves)) < modes, 0.0, -np.pi / 2)
    half_waves = np.arange(2 * modes - 1) + (boundary == "dirichlet")
    return np.pi * half_waves, np.full(len(half_waves), -np.pi / 2 if boundary == "dirichlet" else 0.0)


def apply_per_axis(values: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return `values` with each of its last axes multiplied by its matrix (new, old)."""
    for index, matrix in enumerate(matrices):
        axis = index - len(matrices)
        *outer, old = values.shape[: values.ndim + axis + 1]
        inner = values.shape[values.ndim + axis + 1 :]
        if not inner:
            values = values @ matrix.T
        else:
            values = (matrix @ values.reshape(-1, old, prod(inner))).view(*outer, len(matrix), *inner)
    return values
