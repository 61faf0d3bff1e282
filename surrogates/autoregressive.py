"""Surrogates that learn one time step of the data and predict by rollout, or all frames in one pass.

Shape letters: B batch, T frames of a pass, C channels, K coefficient fields, P parameters, Q conditions,
S static inputs, I = C + S inputs; X stands for all sites. Normalised tensors have channels last.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch

from simsurrogate.errors import UserError, file_and_class
from surrogates.arguments import as_times, initial_states, nonzero_std, parameter_tensors, set_constants
from surrogates.contract import Array, Batch, ParameterValues, Prediction, Problem, Surrogate
from surrogates.grids.constraints import Constraint, Constraints
from surrogates.grids.features import GridInputs
from surrogates.grids.losses import relative_error
from surrogates.inference import in_chunks

Predicts = Literal["next_frame", "all_frames"]


class AutoregressiveSurrogate(Surrogate):
    """A map over one time step Δt of the data, u(t + Δt) = u(t) + σ_Δ N(u(t), a, x, p, t).

    The inputs of N are the normalised state u and coefficient fields a, and the coordinates x of the axes
    that are not periodic. Further inputs are the scalar parameters p, and the time t unless the equation is
    autonomous. σ_Δ is the standard deviation of the change of each channel over Δt. The loss `rollout` is the
    relative L2 error of the normalised state (`relative_error`), averaged over the frames of the rollout.

    With `predicts` = `all_frames`, N returns the changes of all n frames after the first in one pass:

        u(t + k Δt) = u(t) + σ_k N_k(u(t), a, x, p, t),    σ_k = min(k σ_Δ, max(σ_Δ, √2 σ)),    k = 1 ... n

    The duration of a trajectory of the data is n Δt, and σ is the standard deviation of each channel. A
    steady change grows as k σ_Δ. The difference of two independent states has the standard deviation √2 σ.

    The `constraints` are applied after every pass, in training and in predictions, see `Constraints`.

    Attributes:
        num_frames: the number of frames that one pass predicts: 1 or n.
        hidden_width: the channels of the hidden fields, for the size of the chunks of a batch in predictions;
            0 for whole batches.
    """

    losses = ("rollout",)
    weighted = True
    kernel = "_pass"
    hidden_width = 0
    delta_scale: torch.Tensor
    frame_scale: torch.Tensor

    def __init__(
        self, problem: Problem, constraints: Sequence[Constraint] = (), predicts: Predicts = "next_frame"
    ):
        super().__init__(problem)
        self.inputs = GridInputs(problem)
        self.field_channels = problem.spec.field_channels
        self.num_frames = 1
        if predicts == "all_frames":
            self.num_frames = self.window_steps = round(problem.duration / problem.time_step)
        statistics = problem.statistics
        # A steady field has the scale of its own variation.
        delta_scale = nonzero_std(np.array(statistics.delta_std) / nonzero_std(statistics.std))
        growth = np.arange(1, self.num_frames + 1)[:, None] * delta_scale
        frame_scale = np.minimum(growth, np.maximum(delta_scale, math.sqrt(2)))
        set_constants(self, delta_scale=delta_scale, frame_scale=frame_scale)
        self.constraints = Constraints(problem, constraints)

    @abstractmethod
    def increment(self, inputs_BXI: torch.Tensor, conditions_BQ: torch.Tensor) -> torch.Tensor:
        """Return N, the changes in units of their scales, (B, *sites, T C) for the T frames of a pass."""

    def prepare(self, static_BXS: torch.Tensor, conditions_BQ: torch.Tensor) -> Any:
        """Return what does not change in a rollout, as tensors in tuples or lists, for `prepared_increment`.

        A subclass overrides both methods to compute less in a step.

        Args:
            static_BXS: the inputs without the state: the normalised coefficient fields and the coordinates.
            conditions_BQ: the conditions.
        """
        return static_BXS, conditions_BQ

    def prepared_increment(self, state_BXC: torch.Tensor, prepared: Any) -> torch.Tensor:
        """Return N as `increment`, from the normalised states and the result of `prepare`."""
        static_BXS, conditions_BQ = prepared
        return self.increment(torch.cat([state_BXC, static_BXS], dim=-1), conditions_BQ)

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
            UserError: a shape does not fit, or a parameter is missing or unknown; or the surrogate predicts
                all frames in one pass.
        """
        if self.num_frames > 1:
            raise UserError(
                f"{type(self).__name__} with surrogate.predicts=all_frames predicts {self.num_frames} frames "
                "in one pass and has no step. Only next_frame has a step. Call predict, or train with "
                "surrogate.predicts=next_frame."
            )
        state_BCX = initial_states(self.problem, state, self.delta_scale)
        advance = self._prepared_pass(*self._conditions(conditions, len(state_BCX)))
        return self.inputs.denormalise(advance(self.inputs.normalise(state_BCX), time)[:, 0])

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the loss `rollout` of a batch of windows, each predicted from its first frame."""
        first_BXC, *later_frames = [self.inputs.normalise(frame) for frame in batch["state"].unbind(1)]
        weights: list[torch.Tensor | None] = [None] * len(later_frames)
        if "weight" in batch:
            weights = [weight_BCX.movedim(1, -1) for weight_BCX in batch["weight"][:, 1:].unbind(1)]
        if len(later_frames) % self.num_frames:
            raise UserError(
                f"A window has {len(later_frames)} frames after the first. A pass predicts {self.num_frames} "
                f"frames, and a multiple is allowed. Type training.unroll={self.num_frames}."
            )
        site_axes = tuple(range(1, 1 + len(self.problem.spec.shape)))
        state_BXC, errors = first_BXC, []
        for index in range(0, len(later_frames), self.num_frames):
            inputs_BXI = self.inputs.fields(state_BXC, batch["coefficient_fields"])
            conditions_BQ = self.inputs.conditions(batch["parameters"], batch["time"][:, index])
            frames_BTXC = self._frames(state_BXC, self.increment(inputs_BXI, conditions_BQ))
            for frame_BXC, truth_BXC, weight_BXC in zip(
                frames_BTXC.unbind(1), later_frames[index:], weights[index:], strict=False
            ):
                error = relative_error(frame_BXC, truth_BXC, site_axes, self.field_channels, weight_BXC)
                errors.append(error)
            state_BXC = frames_BTXC[:, -1]
        return {"rollout": torch.stack(errors).mean()}

    def _predict(self, initial_state: Array, parameters: ParameterValues, times: Array) -> Prediction:
        """Return the states at `times`, each a multiple of `problem.time_step` after `times[0]`."""
        state_BCX = initial_states(self.problem, initial_state, self.delta_scale)
        steps = self._step_counts(times)
        conditions = self._conditions(parameters, len(state_BCX))

        def rollout(state_BCX: torch.Tensor, *conditions: torch.Tensor) -> torch.Tensor:
            advance = self._prepared_pass(*conditions)
            state_BXC = self.inputs.normalise(state_BCX)
            frames = {0: state_BCX}
            for first in range(0, steps[-1], self.num_frames):
                frames_BTXC = advance(state_BXC, float(times[0]) + first * self.problem.time_step)
                for index, frame_BXC in enumerate(frames_BTXC.unbind(1), start=first + 1):
                    if index in steps:
                        frames[index] = self.inputs.denormalise(frame_BXC)
                state_BXC = frames_BTXC[:, -1]
            return torch.stack([frames[index] for index in steps], dim=1)

        num_hidden = math.prod(self.problem.spec.shape) * self.hidden_width
        return Prediction(in_chunks(rollout, (state_BCX, *conditions), num_hidden))

    def _conditions(self, parameters: ParameterValues, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        return parameter_tensors(self.problem, parameters, batch_size, self.delta_scale)

    def _prepared_pass(
        self, fields_BKX: torch.Tensor, parameters_BP: torch.Tensor
    ) -> Callable[[torch.Tensor, float], torch.Tensor]:
        """Return a function from normalised states (B, *sites, C) and their time to the frames of a pass."""
        static_BXS = self.inputs.static_fields(fields_BKX)

        def prepare_at(time: float) -> Any:
            time_B = parameters_BP.new_full((len(parameters_BP),), time)
            return self.prepare(static_BXS, self.inputs.conditions(parameters_BP, time_B))

        prepared = prepare_at(0.0) if self.inputs.autonomous else None

        def advance(state_BXC: torch.Tensor, time: float) -> torch.Tensor:
            return self._pass(state_BXC, prepare_at(time) if prepared is None else prepared)

        return advance

    def _pass(self, state_BXC: torch.Tensor, prepared: Any) -> torch.Tensor:
        """Return the normalised frames (B, T, *sites, C) of a pass, with the constraints applied."""
        return self._frames(state_BXC, self.prepared_increment(state_BXC, prepared))

    def _frames(self, state_BXC: torch.Tensor, increment_BXO: torch.Tensor) -> torch.Tensor:
        """Return the normalised frames (B, T, *sites, C) of an increment, with the constraints applied."""
        expected_shape = (*state_BXC.shape[:-1], self.num_frames * state_BXC.shape[-1])
        shape = getattr(increment_BXO, "shape", None)
        if shape != expected_shape:
            returned = f"a {type(increment_BXO).__name__}" if shape is None else f"the shape {tuple(shape)}"
            raise TypeError(
                f"{file_and_class(type(self))}.increment returns {returned}. It has to return the shape "
                f"{expected_shape} = (B, *sites, C)."
            )
        changes_BXTC = self.frame_scale * torch.unflatten(increment_BXO, -1, self.frame_scale.shape)
        start_BTXC = state_BXC[:, None]
        frames_BTXC: torch.Tensor = self.constraints(start_BTXC + changes_BXTC.movedim(-2, 1), start_BTXC)
        return frames_BTXC

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
        if self.num_frames > 1 and steps[-1] > self.num_frames:
            raise UserError(
                f"The time {times[-1]:g} is {steps[-1]:.0f} time steps of {self.problem.time_step:g} after "
                f"the start {times[0]:g}. {type(self).__name__} with surrogate.predicts=all_frames predicts "
                f"{self.num_frames} steps. Remove the later times, or train with "
                "surrogate.predicts=next_frame."
            )
        return [int(step) for step in steps]
