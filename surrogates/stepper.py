"""Surrogates that learn one time step of the data and are rolled out.

Shape letters: B batch, T time, C channels, K coefficient fields, A non-periodic axes, P parameters,
Q conditions, I = C + K + A inputs; X stands for all sites. Inside, channels come last.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from surrogates.constraints import Constraint, Constraints
from surrogates.contract import Batch, Problem, Surrogate
from surrogates.inputs import initial_states, moments, named, set_constants, spread

#: Bound below on a frame's norm, in standard deviations, in the relative loss.
_SMALLEST_NORM = 1e-2


class Stepper(Surrogate):
    """A map over one time step Δt of the data, u(t + Δt) = u(t) + σ_Δ N(u(t), a, x, p, t).

    N sees the normalised state u and coefficient fields a, the coordinates x of the axes that are not
    periodic, the scalar parameters p, and the time t unless the equation is autonomous. σ_Δ is the
    standard deviation of the change of each channel over Δt. The loss is the relative L2 error of
    the normalised state, averaged over the frames of the roll-out:

        mean over B, T, C of  ‖û - u‖ / max(‖u - mean‖, 0.01 std √n)

    Every step ends where the `constraints` hold, see `Constraints`: in training and in predictions.
    """

    state_mean: torch.Tensor
    state_std: torch.Tensor
    delta_scale: torch.Tensor
    coefficient_mean: torch.Tensor
    coefficient_std: torch.Tensor
    condition_mean: torch.Tensor
    condition_std: torch.Tensor
    coordinates: torch.Tensor

    def __init__(self, problem: Problem, constraints: Sequence[Constraint] = ()):
        super().__init__(problem)
        statistics = problem.statistics
        state_std = spread(statistics.std)
        clock = () if problem.autonomous else (problem.duration / 2,)
        set_constants(
            self,
            state_mean=np.array(statistics.mean),
            state_std=state_std,
            delta_scale=spread(statistics.delta_std) / state_std,
            coefficient_mean=np.array(statistics.coefficient_mean),
            coefficient_std=spread(statistics.coefficient_std),
            condition_mean=np.array((*statistics.parameter_mean, *clock)),
            condition_std=spread((*statistics.parameter_std, *clock)),
            coordinates=_coordinates(problem),
        )
        self.constraints = Constraints(problem, constraints)
        self.num_inputs = len(problem.channels) + len(problem.coefficients) + self.coordinates.shape[-1]
        self.num_conditions = len(self.condition_mean)

    @abstractmethod
    def change(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """N: the change over one time step, (B, *sites, C), in units of its standard deviation."""

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss `rollout` of a batch of windows, each rolled out from its first frame."""
        frames_BTXC = (batch["state"].movedim(2, -1) - self.state_mean) / self.state_std
        static_BXS = self._static(batch["coefficients"])
        site_axes = tuple(range(1, 1 + len(self.problem.sites)))
        smallest_norm = _SMALLEST_NORM * math.prod(self.problem.sites) ** 0.5
        state_BXC = frames_BTXC[:, 0]
        errors = []
        for number in range(1, frames_BTXC.shape[1]):
            conditions = self._conditions(batch["parameters"], batch["time"][:, number - 1])
            state_BXC = self._step(state_BXC, static_BXS, conditions)
            truth = frames_BTXC[:, number]
            norm = torch.linalg.vector_norm(truth, dim=site_axes).clamp_min(smallest_norm)
            errors.append((torch.linalg.vector_norm(state_BXC - truth, dim=site_axes) / norm).mean())
        return {"rollout": torch.stack(errors).mean()}

    def _predict(
        self,
        initial_state: np.ndarray | torch.Tensor,
        parameters: Mapping[str, Any],
        times: np.ndarray | torch.Tensor,
    ) -> torch.Tensor:
        """The roll-out at `times`, which lie whole numbers of `problem.time_step` behind `times[0]`."""
        state = initial_states(self.problem, initial_state, self.state_mean)
        steps = self._steps(times)
        start = float(times[0])
        coefficients_BKX, parameters_BP = named(self.problem, parameters, len(state), self.state_mean)
        static_BXS = self._static(coefficients_BKX)
        state_BXC = (state.movedim(1, -1) - self.state_mean) / self.state_std
        frames = {0: state}
        for number in range(1, steps[-1] + 1):
            time_B = state.new_full((state.shape[0],), start + (number - 1) * self.problem.time_step)
            state_BXC = self._step(state_BXC, static_BXS, self._conditions(parameters_BP, time_B))
            if number in steps:
                frames[number] = (state_BXC * self.state_std + self.state_mean).movedim(-1, 1)
        return torch.stack([frames[number] for number in steps], dim=1)

    def _step(
        self, state_BXC: torch.Tensor, static_BXS: torch.Tensor, conditions_BQ: torch.Tensor
    ) -> torch.Tensor:
        inputs_BXI = torch.cat([state_BXC, static_BXS], dim=-1)
        later_BXC = state_BXC + self.delta_scale * self.change(inputs_BXI, conditions_BQ)
        constrained: torch.Tensor = self.constraints(later_BXC, state_BXC)
        return constrained

    def _static(self, coefficients_BKX: torch.Tensor) -> torch.Tensor:
        """The inputs that do not change in time: coefficient fields and coordinates."""
        fields = (coefficients_BKX.movedim(1, -1) - self.coefficient_mean) / self.coefficient_std
        coordinates = self.coordinates.expand(len(fields), *self.coordinates.shape)
        return torch.cat([fields, coordinates], dim=-1)

    def _conditions(self, parameters_BP: torch.Tensor, time_B: torch.Tensor) -> torch.Tensor:
        raw = parameters_BP if self.problem.autonomous else torch.cat([parameters_BP, time_B[:, None]], -1)
        return (raw - self.condition_mean) / self.condition_std

    def _steps(self, times: np.ndarray | torch.Tensor) -> list[int]:
        """How many time steps each of `times` lies behind the first."""
        times = moments(times)
        ratio = (times - times[0]) / self.problem.time_step
        steps = np.rint(ratio)
        wrong = ~(np.abs(ratio - steps) <= 1e-3)
        if wrong.any():
            raise ValueError(
                f"time {times[wrong][0]:g} is no whole number of steps behind the start {times[0]:g}: "
                f"this surrogate was trained for steps of {self.problem.time_step:g}"
            )
        if (np.diff(steps) <= 0).any():
            raise ValueError(f"times must increase, at least by {self.problem.time_step:g}; got {times}")
        return [int(step) for step in steps]


def _coordinates(problem: Problem) -> np.ndarray:
    """The cell centres along each non-periodic axis, from -1 to 1 over the domain, (*sites, A)."""
    centres = [(2 * np.arange(size) + 1) / size - 1 for size in problem.sites]
    grids = np.meshgrid(*centres, indexing="ij")
    walled = [
        grid for grid, boundary in zip(grids, problem.boundaries, strict=True) if boundary != "periodic"
    ]
    return np.stack(walled, axis=-1) if walled else np.empty((*problem.sites, 0))
