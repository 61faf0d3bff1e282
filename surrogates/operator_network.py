"""What the operator networks share: a branch, a trunk, and how the two answer.

Shape letters: B batch, T times, C channels, K coefficient fields, P parameters, F = C J coefficients a mode;
M stands for the modes of all axes, X for all sites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from simsurrogate.errors import UserError
from surrogates.arguments import (
    check_window,
    initial_states,
    modes_of_axes,
    parameter_tensors,
    restarted_predictions,
)
from surrogates.contract import Array, Batch, Prediction, Problem, Surrogate
from surrogates.grids.constraints import Constraint, Constraints
from surrogates.grids.features import GridInputs
from surrogates.grids.losses import relative_error
from surrogates.networks.deeponet_trunk import Trunk
from surrogates.networks.fourier_layers import FourierNetwork


class OperatorNetwork(Surrogate):
    """u(x, t + τ) = u(x, t) + σ Σ_jm b_jm(u(t), a, p, t) φ_jm(x, τ)    for any 0 ≤ τ ≤ `horizon_steps` Δt

    The functions φ are the trunk (`Trunk`), the same for all cases. Their coefficients b come from the branch
    (`FourierNetwork`), which sees the state u, the coefficient fields a, the scalar parameters p, and the
    time t unless the equation is autonomous: they are the modes of J fields a channel. σ is the standard
    deviation of each channel, Δt the time between two frames of the data. φ is 0 at τ = 0, so that u(x, t)
    comes back exactly. Times beyond the horizon take several queries, one after the other. Each query ends
    where the `constraints` hold, see `Constraints`.

    Attributes:
        met: constraints that hold without being asked for.
    """

    met: ClassVar[tuple[Constraint, ...]] = ()

    def __init__(
        self,
        problem: Problem,
        *,
        width: int,
        modes: int | Sequence[int],
        layers: int,
        functions: int,
        horizon_steps: int,
        constraints: Sequence[Constraint] = (),
    ):
        super().__init__(problem)
        self.constraints = Constraints(problem, constraints, self.met)
        counts = modes_of_axes(problem, modes)
        if min(width, layers, functions, horizon_steps) < 1:
            raise UserError(
                f"surrogate.width={width}, surrogate.layers={layers}, surrogate.functions={functions} and "
                f"surrogate.horizon_steps={horizon_steps} must be at least 1"
            )
        self.horizon_steps = horizon_steps
        self.inputs = GridInputs(problem)
        self.branch = FourierNetwork(
            problem,
            num_fields=self.inputs.num_fields,
            num_conditions=self.inputs.num_conditions,
            num_out=len(problem.spec.channels) * functions,
            width=width,
            modes=counts,
            layers=layers,
        )
        self.trunk = Trunk(
            problem, counts, functions=functions, width=width, horizon=horizon_steps * problem.time_step
        )

    def _predict(self, initial_state: Array, parameters: Mapping[str, Any], times: Array) -> Prediction:
        """The states at any increasing `times`, each by one query where the horizon allows it."""
        state = initial_states(self.problem, initial_state, self.inputs.state_mean)
        coefficients_BKX, parameters_BP = parameter_tensors(
            self.problem, parameters, len(state), self.inputs.state_mean
        )

        def start(start_BXC: torch.Tensor, time: float) -> Callable[[float], torch.Tensor]:
            begin = state.new_full((len(state),), time)
            coefficients_BFM = self._coefficients(start_BXC, coefficients_BKX, parameters_BP, begin)

            def query(later: float) -> torch.Tensor:
                change_BTCX = self._change(coefficients_BFM, state.new_full((len(state), 1), later))
                found: torch.Tensor = self.constraints(
                    start_BXC + change_BTCX[:, 0].movedim(1, -1), start_BXC
                )
                return found

            return query

        horizon = self.horizon_steps * self.problem.time_step
        found = restarted_predictions(self.inputs.normal(state), times, horizon, start)
        return Prediction(torch.stack([state, *map(self.inputs.physical, found)], dim=1))

    def _start(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The normalised first frame (B, *sites, C) of each window, and the coefficients for what follows."""
        check_window(batch, self.horizon_steps)
        start_BXC = self.inputs.normal(batch["state"][:, 0])
        return start_BXC, self._coefficients(
            start_BXC, batch["coefficient_fields"], batch["parameters"], batch["time"][:, 0]
        )

    def _coefficients(
        self,
        start_BXC: torch.Tensor,
        coefficients_BKX: torch.Tensor,
        parameters_BP: torch.Tensor,
        time_B: torch.Tensor,
    ) -> torch.Tensor:
        """b, (B, F, *modes), of cases that start from normalised states."""
        fields_BXI = self.inputs.fields(start_BXC, coefficients_BKX)
        branch_BXF = self.branch(fields_BXI, self.inputs.conditions(parameters_BP, time_B))
        return self.trunk.coefficients(branch_BXF)

    def _change(self, coefficients_BFM: torch.Tensor, later_BT: torch.Tensor) -> torch.Tensor:
        """The normalised change (B, T, C, *sites) the times τ after the start."""
        change_BTCX: torch.Tensor = self.trunk.field(self.trunk.amplitudes(coefficients_BFM, later_BT)).value
        return change_BTCX

    def _data_loss(
        self, batch: Batch, start_BXC: torch.Tensor, coefficients_BFM: torch.Tensor
    ) -> torch.Tensor:
        """The relative L2 error of the frames after the first, see `relative_error`."""
        later_BT = batch["time"][:, 1:] - batch["time"][:, :1]
        change_BTXC = self._change(coefficients_BFM, later_BT).movedim(2, -1)
        start_BTXC = start_BXC[:, None]
        found_BTXC = self.constraints(start_BTXC + change_BTXC, start_BTXC)
        truth_BTXC = self.inputs.normal(batch["state"][:, 1:].flatten(0, 1)).view_as(found_BTXC)
        return relative_error(found_BTXC, truth_BTXC, tuple(range(2, truth_BTXC.ndim - 1)))
