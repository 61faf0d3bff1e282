"""Operator networks: a branch and a trunk, shared by `DeepONet` and `PIDeepONet`.

Shape letters: B batch, T times, C channels, K coefficient fields, P parameters, F = C J branch channels;
M stands for the modes of all axes, X for all sites.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from surrogates.arguments import (
    check_minimum,
    check_window,
    initial_states,
    modes_of_axes,
    parameter_tensors,
    restarted_predictions,
)
from surrogates.contract import Array, Batch, ParameterValues, Prediction, Problem, Surrogate
from surrogates.grids.constraints import Constraint, Constraints
from surrogates.grids.features import GridInputs
from surrogates.grids.losses import relative_error
from surrogates.inference import in_chunks
from surrogates.networks.deeponet_trunk import Trunk
from surrogates.networks.fourier_layers import FourierNetwork


class OperatorNetwork(Surrogate):
    """A branch and a trunk that predict the state at any time within a horizon.

        u(x, t + τ) = u(x, t) + σ Σ_jm b_jm(u(t), a, p, t) φ_jm(x, τ)    for any 0 ≤ τ ≤ `horizon_steps` Δt

    The functions φ are the trunk (`Trunk`), which all cases share. The coefficients b are the modes of J
    fields per channel, the output of the branch (`FourierNetwork`). The inputs of the branch are the state u,
    the coefficient fields a, the scalar parameters p, and the time t unless the equation is autonomous. The
    factor σ is the standard deviation of each channel, and Δt is the time between two frames of the data. At
    τ = 0 the functions φ are 0, so the prediction is exactly u(x, t). Times beyond the horizon take several
    queries, one after the other. The `constraints` are applied after every query, see `Constraints`.

    Attributes:
        built_in: constraints that the form of the network satisfies.
    """

    kernel = "_query"
    any_grid = True
    built_in: ClassVar[tuple[Constraint, ...]] = ()

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
        self.constraints = Constraints(problem, constraints, self.built_in)
        counts = modes_of_axes(problem, modes)
        check_minimum(1, width=width, layers=layers, functions=functions, horizon_steps=horizon_steps)
        self.horizon_steps, self.hidden_width = horizon_steps, width
        self.inputs = GridInputs(problem)
        self.field_channels = problem.spec.field_channels
        self.branch = FourierNetwork(
            problem,
            num_fields=self.inputs.num_fields,
            num_conditions=self.inputs.num_conditions,
            num_out=len(problem.spec.channels) * functions,
            width=width,
            modes=counts,
            layers=layers,
        )
        horizon = horizon_steps * problem.time_step
        self.trunk = Trunk(problem, counts, functions=functions, width=width, horizon=horizon)

    def _predict(self, initial_state: Array, parameters: ParameterValues, times: Array) -> Prediction:
        """Return the states at any increasing `times`, all by one query if the horizon allows one query."""
        state_BCX = initial_states(self.problem, initial_state, self.inputs.state_mean)
        fields_BKX, parameters_BP = parameter_tensors(
            self.problem, parameters, len(state_BCX), self.inputs.state_mean
        )

        def predict(
            state_BCX: torch.Tensor, fields_BKX: torch.Tensor, parameters_BP: torch.Tensor
        ) -> torch.Tensor:
            static_BXS = self.inputs.static_fields(fields_BKX)

            def query(start_BXC: torch.Tensor, time: float, durations: np.ndarray) -> torch.Tensor:
                time_B = parameters_BP.new_full((len(parameters_BP),), time)
                conditions_BQ = self.inputs.conditions(parameters_BP, time_B)
                return self._query(start_BXC, static_BXS, conditions_BQ, state_BCX.new_tensor(durations))

            horizon = self.horizon_steps * self.problem.time_step
            later = restarted_predictions(self.inputs.normalise(state_BCX), times, horizon, query)
            return torch.cat([state_BCX[:, None], *map(self.inputs.denormalise, later)], dim=1)

        num_hidden = math.prod(self.problem.spec.shape) * self.hidden_width
        return Prediction(in_chunks(predict, (state_BCX, fields_BKX, parameters_BP), num_hidden))

    def _query(
        self,
        start_BXC: torch.Tensor,
        static_BXS: torch.Tensor,
        conditions_BQ: torch.Tensor,
        duration_T: torch.Tensor,
    ) -> torch.Tensor:
        """Return the constrained, normalised states (B, T, *sites, C) after the durations (T,), s."""
        if torch.is_grad_enabled():
            branch_BXF = self.branch(torch.cat([start_BXC, static_BXS], dim=-1), conditions_BQ)
        else:
            branch_BXF = self.branch.predict(start_BXC, self.branch.prepare(static_BXS, conditions_BQ))
        change_BTCX = self.trunk.change(self.trunk.coefficients(branch_BXF), duration_T)
        start_BTXC = start_BXC[:, None]
        later_BTXC: torch.Tensor = self.constraints(start_BTXC + change_BTCX.movedim(2, -1), start_BTXC)
        return later_BTXC

    def _start_and_coefficients(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the normalised first frames (B, *sites, C) and their coefficients (B, F, *modes)."""
        check_window(batch, self.horizon_steps)
        start_BXC = self.inputs.normalise(batch["state"][:, 0])
        return start_BXC, self._coefficients(
            start_BXC, batch["coefficient_fields"], batch["parameters"], batch["time"][:, 0]
        )

    def _coefficients(
        self,
        start_BXC: torch.Tensor,
        fields_BKX: torch.Tensor,
        parameters_BP: torch.Tensor,
        time_B: torch.Tensor,
    ) -> torch.Tensor:
        """Return the coefficients b, (B, F, *modes), for normalised initial states."""
        fields_BXI = self.inputs.fields(start_BXC, fields_BKX)
        branch_BXF = self.branch(fields_BXI, self.inputs.conditions(parameters_BP, time_B))
        return self.trunk.coefficients(branch_BXF)

    def _change(self, coefficients_BFM: torch.Tensor, duration_BT: torch.Tensor) -> torch.Tensor:
        """Return the normalised change (B, T, C, *sites) after the durations τ (s)."""
        amplitudes = self.trunk.amplitudes(coefficients_BFM, duration_BT)
        change_BTCX: torch.Tensor = self.trunk.field(amplitudes).value
        return change_BTCX

    def _data_loss(
        self, batch: Batch, start_BXC: torch.Tensor, coefficients_BFM: torch.Tensor
    ) -> torch.Tensor:
        """Return the relative L2 error of the frames after the first, see `relative_error`."""
        duration_BT = batch["time"][:, 1:] - batch["time"][:, :1]
        change_BTXC = self._change(coefficients_BFM, duration_BT).movedim(2, -1)
        start_BTXC = start_BXC[:, None]
        predicted_BTXC = self.constraints(start_BTXC + change_BTXC, start_BTXC)
        truth_BTXC = self.inputs.normalise(batch["state"][:, 1:].flatten(0, 1)).view_as(predicted_BTXC)
        site_axes = tuple(range(2, truth_BTXC.ndim - 1))
        weight_BTXC = batch["weight"][:, 1:].movedim(2, -1) if "weight" in batch else None
        return relative_error(predicted_BTXC, truth_BTXC, site_axes, self.field_channels, weight_BTXC)
