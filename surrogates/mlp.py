"""A perceptron that gives the state of few bodies at any later time, in one query.

Shape letters: B batch, T times, C channels, N particles, K coefficient fields, F what one query is given.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from surrogates.contract import Batch, Problem, Surrogate
from surrogates.inputs import initial_states, moments, named, set_constants, spread


class MLP(Surrogate):
    """u(t + τ) = u(t) + σ τ/(τ + Δt) N(u(t), m, p, τ) for any 0 ≤ τ ≤ `reach` Δt

    N is a perceptron of the normalised state u and coefficient fields m of all particles, the scalar
    parameters p and the time τ, and of t where the equation depends on it; σ is the standard deviation of
    each channel, Δt the time between two frames of the data. Times beyond the reach take several queries,
    one after the other. The loss is the mean squared error over all frames of a window, in units of σ².

    On a grid the cells are too many for the input, and no scalar parameter tells the initial fields that the
    solvers draw: FNO and U-Net are there for it.

    Options:
        width: of the hidden layers.
        layers: their number.
        reach: time steps that one query spans; the training's windows are as long.

    Raises:
        ValueError: the sites are the cells of a grid; an option below 1; windows of another length.

    Source: Breen, Foley, Boekholt & Portegies Zwart 2020 (doi:10.1093/mnras/staa713), for three bodies.
    """

    state_mean: torch.Tensor
    state_std: torch.Tensor
    coefficient_mean: torch.Tensor
    coefficient_std: torch.Tensor
    condition_mean: torch.Tensor
    condition_std: torch.Tensor

    def __init__(self, problem: Problem, *, width: int, layers: int, reach: int):
        super().__init__(problem)
        if min(width, layers, reach) < 1:
            raise ValueError(
                f"surrogate.width={width}, surrogate.layers={layers} and surrogate.reach={reach} must be at "
                "least 1"
            )
        self.reach = reach
        statistics = problem.statistics
        clock = () if problem.autonomous else (problem.duration / 2,)
        set_constants(
            self,
            state_mean=np.array(statistics.mean)[:, None],
            state_std=spread(statistics.std)[:, None],
            coefficient_mean=np.array(statistics.coefficient_mean)[:, None],
            coefficient_std=spread(statistics.coefficient_std)[:, None],
            condition_mean=np.array((*statistics.parameter_mean, *clock)),
            condition_std=spread((*statistics.parameter_std, *clock)),
        )
        num_state = len(problem.channels) * problem.sites[0]
        num_given = num_state + len(problem.coefficients) * problem.sites[0] + len(self.condition_mean)
        widths = [num_given + 1, *[width] * layers]
        hidden = [(nn.Linear(num_in, num_out), nn.GELU()) for num_in, num_out in itertools.pairwise(widths)]
        self.network = nn.Sequential(*itertools.chain(*hidden), nn.Linear(width, num_state))

    @classmethod
    def misfit(cls, problem: Problem) -> str | None:
        """See `Surrogate.misfit`."""
        return None if problem.has_particles else "its sites are the cells of a grid, and it needs particles"

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss `data` of a batch of windows: all frames after the first, asked of the first."""
        frames_BTCN = (batch["state"] - self.state_mean) / self.state_std
        steps = frames_BTCN.shape[1] - 1
        if steps != self.reach:
            raise ValueError(
                f"training.unroll={steps} gives windows of {steps} steps, but one query spans "
                f"surrogate.reach={self.reach}: set both to the same number"
            )
        given_BF = self._given(
            frames_BTCN[:, 0], batch["coefficients"], batch["parameters"], batch["time"][:, 0]
        )
        later_BT = batch["time"][:, 1:] - batch["time"][:, :1]
        start = frames_BTCN[:, 0].repeat_interleave(steps, dim=0)
        found = self._query(start, given_BF.repeat_interleave(steps, dim=0), later_BT.flatten())
        return {"data": (found - frames_BTCN[:, 1:].flatten(0, 1)).square().mean()}

    def _predict(
        self,
        initial_state: np.ndarray | torch.Tensor,
        parameters: Mapping[str, Any],
        times: np.ndarray | torch.Tensor,
    ) -> torch.Tensor:
        """The states at any increasing `times`, each by one query where the reach allows it."""
        state = initial_states(self.problem, initial_state, self.state_mean)
        time = moments(times)
        if not (np.diff(time) > 0).all() or not np.isfinite(time).all():
            raise ValueError(f"times must increase and be finite; got {time}")
        coefficients, scalars = named(self.problem, parameters, len(state), self.state_mean)
        span = self.reach * self.problem.time_step
        normal, done, frames = (state - self.state_mean) / self.state_std, 0, [state]
        given = self._given(normal, coefficients, scalars, state.new_full((len(state),), time[0]))
        for later in time[1:] - time[0]:
            # A rounding beyond the reach is within it.
            for number in range(done + 1, max(math.ceil(later / span * (1 - 1e-9)), 1)):
                normal = self._query(normal, given, state.new_full((len(state),), span))
                begin = state.new_full((len(state),), time[0] + number * span)
                given, done = self._given(normal, coefficients, scalars, begin), number
            found = self._query(normal, given, state.new_full((len(state),), later - done * span))
            frames.append(found * self.state_std + self.state_mean)
        return torch.stack(frames, dim=1)

    def _given(
        self, state: torch.Tensor, coefficients: torch.Tensor, parameters: torch.Tensor, time: torch.Tensor
    ) -> torch.Tensor:
        """What N sees beside τ, normalised, (B, F)."""
        fields = (coefficients - self.coefficient_mean) / self.coefficient_std
        raw = parameters if self.problem.autonomous else torch.cat([parameters, time[:, None]], dim=-1)
        conditions = (raw - self.condition_mean) / self.condition_std
        return torch.cat([state.flatten(1), fields.flatten(1), conditions], dim=-1)

    def _query(self, state: torch.Tensor, given: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
        """The normalised states (B, C, N) the times `later` (B,) after `state`."""
        share = later / (self.reach * self.problem.time_step)
        change = self.network(torch.cat([given, 2 * share[:, None] - 1], dim=-1)).view_as(state)
        grown = later / (later + self.problem.time_step)
        found: torch.Tensor = state + grown[:, None, None] * change
        return found
