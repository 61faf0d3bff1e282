"""Surrogates that learn one time step of the data and predict by rollout.

Shape letters: B batch, C channels, K coefficient fields, P parameters, Q conditions, I inputs; X stands for
all sites. Normalised tensors have channels last.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch

from simsurrogate.errors import UserError, file_and_class
from surrogates.arguments import as_times, initial_states, nonzero_std, parameter_tensors, set_constants
from surrogates.contract import Array, Batch, ParameterValues, Prediction, Problem, Surrogate
from surrogates.grids.constraints import Constraint, Constraints
from surrogates.grids.features import GridInputs
from surrogates.grids.losses import relative_error


class AutoregressiveSurrogate(Surrogate):
    """A map over one time step Δt of the data, u(t + Δt) = u(t) + σ_Δ N(u(t), a, x, p, t).

    The inputs of N are the normalised state u and coefficient fields a, and the coordinates x of the axes
    that are not periodic. Further inputs are the scalar parameters p, and the time t unless the equation is
    autonomous. σ_Δ is the standard deviation of the change of each channel over Δt. The loss `rollout` is the
    relative L2 error of the normalised state (`relative_error`), averaged over the frames of the rollout.

    The `constraints` are applied after every step, in training and in predictions, see `Constraints`.
    """

    losses = ("rollout",)
    delta_scale: torch.Tensor

    def __init__(self, problem: Problem, constraints: Sequence[Constraint] = ()):
        super().__init__(problem)
        self.inputs = GridInputs(problem)
        self.field_channels = problem.spec.field_channels
        statistics = problem.statistics
        # A steady field has the scale of its own variation.
        delta_scale = nonzero_std(np.array(statistics.delta_std) / nonzero_std(statistics.std))
        set_constants(self, delta_scale=delta_scale)
        self.constraints = Constraints(problem, constraints)

    @abstractmethod
    def increment(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """Return N, the change over one time step in units of its standard deviation, (B, *sites, C)."""

    def step(self, state: Array, conditions: ParameterValues, time: float = 0.0) -> torch.Tensor:
        """Return the states (B, C, *sites) one `problem.time_step` after `time`, in physical units.

        The result has a gradient with respect to `state` and `conditions` unless gradients are disabled. A
        loop over `step` predicts the same states as `predict`, up to the rounding of units. `step` does not
        check the range of the training data.

        Args:
            state: states (B, C, *sites).
            conditions: the scalar parameters and coefficient fields by name, as `parameters` of `predict`.
            time: the time of the states since the start of the trajectory, s. An autonomous problem does not
                use it.

        Raises:
            UserError: a shape does not fit, or a parameter is missing or unknown.
        """
        state_BCX = initial_states(self.problem, state, self.delta_scale)
        fields_BKX, parameters_BP = self._conditions(conditions, len(state_BCX))
        next_BXC = self._step_at(self.inputs.normalise(state_BCX), fields_BKX, parameters_BP, time)
        return self.inputs.denormalise(next_BXC)

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the loss `rollout` of a batch of windows, each predicted from its first frame."""
        first_BXC, *later_frames = [self.inputs.normalise(frame) for frame in batch["state"].unbind(1)]
        site_axes = tuple(range(1, 1 + len(self.problem.spec.shape)))
        state_BXC, errors = first_BXC, []
        for index, truth_BXC in enumerate(later_frames):
            conditions_BQ = self.inputs.conditions(batch["parameters"], batch["time"][:, index])
            state_BXC = self._step(state_BXC, batch["coefficient_fields"], conditions_BQ)
            errors.append(relative_error(state_BXC, truth_BXC, site_axes, self.field_channels))
        return {"rollout": torch.stack(errors).mean()}

    def _predict(self, initial_state: Array, parameters: ParameterValues, times: Array) -> Prediction:
        """Return the rollout at `times`, each a multiple of `problem.time_step` after `times[0]`."""
        state_BCX = initial_states(self.problem, initial_state, self.delta_scale)
        steps = self._step_counts(times)
        start = float(times[0])
        fields_BKX, parameters_BP = self._conditions(parameters, len(state_BCX))
        state_BXC = self.inputs.normalise(state_BCX)
        frames = {0: state_BCX}
        for index in range(1, steps[-1] + 1):
            time = start + (index - 1) * self.problem.time_step
            state_BXC = self._step_at(state_BXC, fields_BKX, parameters_BP, time)
            if index in steps:
                frames[index] = self.inputs.denormalise(state_BXC)
        return Prediction(torch.stack([frames[index] for index in steps], dim=1))

    def _conditions(self, parameters: ParameterValues, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        return parameter_tensors(self.problem, parameters, batch_size, self.delta_scale)

    def _step_at(
        self, state_BXC: torch.Tensor, fields_BKX: torch.Tensor, parameters_BP: torch.Tensor, time: float
    ) -> torch.Tensor:
        """Return the normalised states one time step after `time`."""
        time_B = state_BXC.new_full((len(state_BXC),), time)
        return self._step(state_BXC, fields_BKX, self.inputs.conditions(parameters_BP, time_B))

    def _step(
        self, state_BXC: torch.Tensor, fields_BKX: torch.Tensor, conditions_BQ: torch.Tensor
    ) -> torch.Tensor:
        """Return the normalised states one time step later, with the constraints applied."""
        inputs_BXI = self.inputs.fields(state_BXC, fields_BKX)
        increment_BXC = self.increment(inputs_BXI, conditions_BQ)
        shape = getattr(increment_BXC, "shape", None)
        if shape != state_BXC.shape:
            returned = f"a {type(increment_BXC).__name__}" if shape is None else f"the shape {tuple(shape)}"
            raise TypeError(
                f"{file_and_class(type(self))}.increment returns {returned}. It has to return the shape "
                f"{tuple(state_BXC.shape)} = (B, *sites, C)."
            )
        next_BXC = state_BXC + self.delta_scale * increment_BXC
        constrained_BXC: torch.Tensor = self.constraints(next_BXC, state_BXC)
        return constrained_BXC

    def _step_counts(self, times: Array) -> list[int]:
        """Return the number of time steps from `times[0]` to each of `times`."""
        times = as_times(times)
        num_steps = (times - times[0]) / self.problem.time_step
        steps = np.rint(num_steps)
        is_fractional = ~(np.abs(num_steps - steps) <= 1e-3)
        if is_fractional.any():
            raise UserError(
                f"The time {times[is_fractional][0]:g} is not a multiple of the surrogate's time step "
                f"{self.problem.time_step:g} after the start {times[0]:g}. Only multiples are allowed. Pass "
                f"times = start + {self.problem.time_step:g} * np.arange(num_frames)."
            )
        if (np.diff(steps) <= 0).any():
            raise UserError(
                f"times={times} do not increase by at least the time step. Differences of "
                f"{self.problem.time_step:g} or multiples are allowed. Sort the times and remove "
                "repeated times."
            )
        return [int(step) for step in steps]
