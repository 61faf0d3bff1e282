"""Surrogates that learn one time step of the data and are rolled out.

Shape letters: B batch, C channels, K coefficient fields, P parameters, Q conditions, I inputs; X stands for
all sites. Inside, channels come last.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from simsurrogate.errors import UserError
from surrogates.arguments import as_times, initial_states, nonzero_std, parameter_tensors, set_constants
from surrogates.contract import Array, Batch, Prediction, Problem, Surrogate
from surrogates.grids.constraints import Constraint, Constraints
from surrogates.grids.features import GridInputs
from surrogates.grids.losses import relative_error


class AutoregressiveSurrogate(Surrogate):
    """A map over one time step Δt of the data, u(t + Δt) = u(t) + σ_Δ N(u(t), a, x, p, t).

    N sees the normalised state u and coefficient fields a, the coordinates x of the axes that are not
    periodic, the scalar parameters p, and the time t unless the equation is autonomous. σ_Δ is the
    standard deviation of the change of each channel over Δt. The loss is the relative L2 error of
    the normalised state (`relative_error`), averaged over the frames of the roll-out.

    Every step ends where the `constraints` hold, see `Constraints`: in training and in predictions.
    """

    losses = ("rollout",)
    delta_scale: torch.Tensor

    def __init__(self, problem: Problem, constraints: Sequence[Constraint] = ()):
        super().__init__(problem)
        self.inputs = GridInputs(problem)
        statistics = problem.statistics
        set_constants(self, delta_scale=nonzero_std(statistics.delta_std) / nonzero_std(statistics.std))
        self.constraints = Constraints(problem, constraints)

    @abstractmethod
    def increment(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """N: the change over one time step, (B, *sites, C), in units of its standard deviation."""

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss `rollout` of a batch of windows, each rolled out from its first frame."""
        first, *later = [self.inputs.normal(frame) for frame in batch["state"].unbind(1)]
        site_axes = tuple(range(1, 1 + len(self.problem.spec.shape)))
        state_BXC, errors = first, []
        for number, truth_BXC in enumerate(later):
            conditions = self.inputs.conditions(batch["parameters"], batch["time"][:, number])
            state_BXC = self._step(state_BXC, batch["coefficient_fields"], conditions)
            errors.append(relative_error(state_BXC, truth_BXC, site_axes))
        return {"rollout": torch.stack(errors).mean()}

    def _predict(self, initial_state: Array, parameters: Mapping[str, Any], times: Array) -> Prediction:
        """The roll-out at `times`, which lie whole numbers of `problem.time_step` behind `times[0]`."""
        state = initial_states(self.problem, initial_state, self.delta_scale)
        steps = self._steps(times)
        start = float(times[0])
        coefficients_BKX, parameters_BP = parameter_tensors(
            self.problem, parameters, len(state), self.delta_scale
        )
        state_BXC = self.inputs.normal(state)
        frames = {0: state}
        for number in range(1, steps[-1] + 1):
            time_B = state.new_full((state.shape[0],), start + (number - 1) * self.problem.time_step)
            conditions = self.inputs.conditions(parameters_BP, time_B)
            state_BXC = self._step(state_BXC, coefficients_BKX, conditions)
            if number in steps:
                frames[number] = self.inputs.physical(state_BXC)
        return Prediction(torch.stack([frames[number] for number in steps], dim=1))

    def _step(
        self, state_BXC: torch.Tensor, coefficients_BKX: torch.Tensor, conditions_BQ: torch.Tensor
    ) -> torch.Tensor:
        inputs_BXI = self.inputs.fields(state_BXC, coefficients_BKX)
        later_BXC = state_BXC + self.delta_scale * self.increment(inputs_BXI, conditions_BQ)
        constrained: torch.Tensor = self.constraints(later_BXC, state_BXC)
        return constrained

    def _steps(self, times: Array) -> list[int]:
        """How many time steps each of `times` lies behind the first."""
        times = as_times(times)
        ratio = (times - times[0]) / self.problem.time_step
        steps = np.rint(ratio)
        wrong = ~(np.abs(ratio - steps) <= 1e-3)
        if wrong.any():
            raise UserError(
                f"time {times[wrong][0]:g} is no whole number of steps behind the start {times[0]:g}: "
                f"this surrogate was trained for steps of {self.problem.time_step:g}"
            )
        if (np.diff(steps) <= 0).any():
            raise UserError(f"times must increase, at least by {self.problem.time_step:g}; got {times}")
        return [int(step) for step in steps]
