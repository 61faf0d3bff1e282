"""Linear functionals of predicted states, computed from the coefficients of a reduced basis.

Shape letters: B batch, T times, L functionals, C channels, K modes, P scalar parameters; X stands for all
sites.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from simsurrogate.errors import UserError
from surrogates.arguments import as_times, initial_states, parameter_tensors
from surrogates.arrays import as_tensor
from surrogates.contract import Array, ExtrapolationWarning, ParameterValues, Problem
from surrogates.grids.constraints import Constraints
from surrogates.training_range import TrainingRange, check_finite


@dataclass(frozen=True)
class LinearFunctionals:
    """The values offset_l + Σ_k matrix_lk c_k(p, t) + Σ_cx start_lcx u_cx(0) of L linear functionals.

    A prediction costs one evaluation of the coefficients c and no field.

    Attributes:
        problem: the problem of the surrogate.
        training_range: the range of its training data.
        coefficients: the map from parameters (B, P) and times (B, T), s, to the coefficients (B, T, K).
        matrix: (L, K).
        offset: (L,).
        start: (L, C, *sites), the weights of the initial state; None if no value depends on it.
    """

    problem: Problem
    training_range: TrainingRange
    coefficients: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    matrix: torch.Tensor
    offset: torch.Tensor
    start: torch.Tensor | None

    @torch.no_grad()
    def predict(
        self, parameters: ParameterValues, times: Array, initial_state: Array | None = None
    ) -> torch.Tensor:
        """Return the values (B, T, L) at `times` (T,), s since the start of the trajectory.

        `parameters` maps each scalar parameter to (B,) or a number. The values at the first time are
        predictions, too. Only the constraint `mean` needs `initial_state` (B, C, *sites), for its means. An
        `ExtrapolationWarning` names a parameter or a time outside the range of the training data.

        Raises:
            UserError: an argument does not fit, is not finite, or the initial state is missing.
        """
        state = np.empty(0) if initial_state is None else initial_state
        check_finite(state, parameters)
        for message in self.training_range.outside_messages(state, parameters, times):
            warnings.warn(f"{message}; this is an extrapolation", ExtrapolationWarning, stacklevel=3)
        names = self.problem.spec.parameter_names
        sizes = [as_tensor(values).numel() for name, values in parameters.items() if name in names]
        _, scalars_BP = parameter_tensors(self.problem, parameters, max(sizes, default=1), self.matrix)
        time_T = torch.from_numpy(as_times(times)).to(self.matrix)
        coefficients_BTK = self.coefficients(scalars_BP, time_T.expand(len(scalars_BP), -1))
        values_BTL = self.offset + coefficients_BTK @ self.matrix.T
        if self.start is None:
            return values_BTL
        if initial_state is None:
            raise UserError(
                "The constraint mean takes the mean of the initial state, which is missing. A model with "
                "this constraint needs the initial state. Pass initial_state=STATE."
            )
        state_BCX = initial_states(self.problem, initial_state, self.matrix)
        return values_BTL + (state_BCX.flatten(1) @ self.start.flatten(1).T)[:, None]


def through_constraints(
    constraints: Constraints, weights_LCX: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return functionals of states before the constraints that equal the given ones after the constraints.

    The constraints are affine in the state and in the initial state, so the gradients are the weights.

    Args:
        constraints: the constraints.
        weights_LCX: the weights of normalised states (L, C, *sites).

    Returns:
        The weights of the state and of the initial state (L, C, *sites), and the constant (L,).
    """
    with torch.enable_grad():
        state_LXC, start_LXC = (
            torch.zeros_like(weights_LCX.movedim(1, -1)).requires_grad_() for _ in range(2)
        )
        products = constraints(state_LXC, start_LXC) * weights_LCX.movedim(1, -1)
        gradients = torch.autograd.grad(
            products.sum(), (state_LXC, start_LXC), allow_unused=True, materialize_grads=True
        )
    state_LCX, start_LCX = (gradient.movedim(-1, 1) for gradient in gradients)
    return state_LCX, start_LCX, products.detach().flatten(1).sum(1)
