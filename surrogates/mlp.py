"""A perceptron that gives the state at any later time in one query: of few bodies at once, or place by place.

Shape letters: B batch, T times, C channels, N sites, K coefficient fields; the network is asked G times a
case, once for all particles or once for each site, and is given F numbers and the time each time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from simsurrogate.errors import UserError
from surrogates.arguments import (
    check_window,
    initial_states,
    nonzero_std,
    parameter_tensors,
    restarted_predictions,
    set_constants,
)
from surrogates.contract import Array, Batch, Prediction, Problem, Surrogate
from surrogates.grids.constraints import Constraint, Constraints

#: Waves along a periodic axis whose cosines and sines the network is given.
_WAVES = 4


class MLP(Surrogate):
    """u(t + τ) = u(t) + σ τ/(τ + Δt) N(·, τ)    for any 0 ≤ τ ≤ `horizon_steps` Δt

    N is a perceptron; σ is the standard deviation of each channel, Δt the time between two frames of the
    data. Times beyond the horizon take several queries, one after the other. The loss is the mean squared
    error over all frames of a window, in units of σ².

    Of particles, N gives the change of all at once, from the normalised state and coefficient fields of all,
    the scalar parameters, and t where the equation depends on it.

    On a grid, N gives the change at one place, from its coordinates x (cosines and sines of the lowest waves
    along a periodic axis), the scalar parameters, and the time t since the trajectory began. It learns the
    solutions themselves: the scalar parameters have to determine them, and `times` counts from the beginning.

    Options:
        width: of the hidden layers.
        layers: their number.
        horizon_steps: time steps that one query covers; the windows of the training have this length.
        points: cells of each window that a training step looks at, drawn anew each time, or all if fewer.
        constraints: what holds exactly on a grid, see `Constraints`; in predictions alone, as training looks
            at single cells.

    Raises:
        UserError: the sites are the cells of a grid, and scalar parameters do not determine the trajectory;
            an option below 1; windows of another length; a constraint of no use.

    Source: Breen, Foley, Boekholt & Portegies Zwart 2020 (doi:10.1093/mnras/staa713), for three bodies.
    """

    state_mean: torch.Tensor
    state_std: torch.Tensor
    coefficient_mean: torch.Tensor
    coefficient_std: torch.Tensor
    condition_mean: torch.Tensor
    condition_std: torch.Tensor
    places: torch.Tensor

    def __init__(
        self,
        problem: Problem,
        *,
        width: int,
        layers: int,
        horizon_steps: int,
        points: int,
        constraints: Sequence[Constraint] = (),
    ):
        super().__init__(problem)
        self.constraints = Constraints(problem, constraints)
        if min(width, layers, horizon_steps, points) < 1:
            raise UserError(
                f"surrogate.width={width}, surrogate.layers={layers}, "
                f"surrogate.horizon_steps={horizon_steps} and surrogate.points={points} must be at least 1"
            )
        self.horizon_steps = horizon_steps
        self._num_sites = math.prod(problem.spec.shape)
        self.uses_initial_state = problem.spec.has_particles
        self.uses_time = not (problem.spec.has_particles and problem.spec.autonomous)
        if not problem.spec.has_particles and points < self._num_sites:
            self.num_random = points
        statistics = problem.statistics
        clock = (problem.duration / 2,) if self.uses_time else ()
        set_constants(
            self,
            state_mean=np.array(statistics.mean)[:, None],
            state_std=nonzero_std(statistics.std)[:, None],
            coefficient_mean=np.array(statistics.coefficient_mean)[:, None],
            coefficient_std=nonzero_std(statistics.coefficient_std)[:, None],
            condition_mean=np.array((*statistics.parameter_mean, *clock)),
            condition_std=nonzero_std((*statistics.parameter_std, *clock)),
            places=_places(problem),
        )
        num_out = len(problem.spec.channels)
        num_given = self.places.shape[-1]
        if problem.spec.has_particles:
            num_given = (num_out + len(problem.spec.coefficient_channels)) * self._num_sites
            num_out *= self._num_sites
        widths = [num_given + len(self.condition_mean) + 1, *[width] * layers]
        hidden = [(nn.Linear(num_in, wide), nn.GELU()) for num_in, wide in itertools.pairwise(widths)]
        self.network = nn.Sequential(*itertools.chain(*hidden), nn.Linear(width, num_out))

    @classmethod
    def incompatibility(cls, problem: Problem) -> str | None:
        """See `Surrogate.incompatibility`."""
        if problem.spec.has_particles or problem.spec.parametric:
            return None
        return (
            "its sites are the cells of a grid, and no scalar parameters determine a trajectory: the initial "
            "fields or coefficients are drawn otherwise"
        )

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss `data` of a batch of windows: all frames after the first, asked of the first."""
        check_window(batch, self.horizon_steps)
        frames_BTCN = (batch["state"].flatten(3) - self.state_mean) / self.state_std
        places_BNF = self.places.expand(len(frames_BTCN), *self.places.shape)
        if self.num_random:
            drawn_BN = (batch["random"] * self._num_sites).long()
            places_BNF = self.places[drawn_BN]
            chosen = drawn_BN[:, None, None].expand(*frames_BTCN.shape[:3], -1)
            frames_BTCN = frames_BTCN.gather(3, chosen)
        given_BGF = self._given(
            frames_BTCN[:, 0],
            batch["coefficient_fields"].flatten(2),
            places_BNF,
            batch["parameters"],
            batch["time"][:, 0],
        )
        later_BT = batch["time"][:, 1:] - batch["time"][:, :1]
        start = frames_BTCN[:, 0].repeat_interleave(self.horizon_steps, dim=0)
        found = self._query(start, given_BGF.repeat_interleave(self.horizon_steps, dim=0), later_BT.flatten())
        return {"data": (found - frames_BTCN[:, 1:].flatten(0, 1)).square().mean()}

    def _predict(self, initial_state: Array, parameters: Mapping[str, Any], times: Array) -> Prediction:
        """The states at any increasing `times`, each by one query where the horizon allows it."""
        state = initial_states(self.problem, initial_state, self.state_mean)
        coefficients, scalars = parameter_tensors(self.problem, parameters, len(state), self.state_mean)
        places = self.places.expand(len(state), *self.places.shape)

        def ready(normal_BCN: torch.Tensor, time: float) -> Callable[[float], torch.Tensor]:
            begin = state.new_full((len(state),), time)
            given_BGF = self._given(normal_BCN, coefficients.flatten(2), places, scalars, begin)
            return lambda later: self._held(
                self._query(normal_BCN, given_BGF, state.new_full((len(state),), later)), normal_BCN
            )

        normal_BCN = (state.flatten(2) - self.state_mean) / self.state_std
        found = restarted_predictions(normal_BCN, times, self.horizon_steps * self.problem.time_step, ready)
        later = [(each * self.state_std + self.state_mean).view_as(state) for each in found]
        return Prediction(torch.stack([state, *later], dim=1))

    def _held(self, state_BCN: torch.Tensor, start_BCN: torch.Tensor) -> torch.Tensor:
        """The normalised states where the constraints hold."""
        state_BXC, start_BXC = (
            each.view(*each.shape[:2], *self.problem.spec.shape).movedim(1, -1)
            for each in (state_BCN, start_BCN)
        )
        held: torch.Tensor = self.constraints(state_BXC, start_BXC)
        return held.movedim(-1, 1).flatten(2)

    def _given(
        self,
        state_BCN: torch.Tensor,
        coefficients_BKN: torch.Tensor,
        places_BNF: torch.Tensor,
        parameters: torch.Tensor,
        time: torch.Tensor,
    ) -> torch.Tensor:
        """What N sees beside τ, normalised, (B, G, F)."""
        raw = torch.cat([parameters, time[:, None]], dim=-1) if self.uses_time else parameters
        conditions = ((raw - self.condition_mean) / self.condition_std)[:, None]
        if not self.problem.spec.has_particles:
            return torch.cat([places_BNF, conditions.expand(-1, places_BNF.shape[1], -1)], dim=-1)
        fields = (coefficients_BKN - self.coefficient_mean) / self.coefficient_std
        return torch.cat([state_BCN.flatten(1)[:, None], fields.flatten(1)[:, None], conditions], dim=-1)

    def _query(self, state_BCN: torch.Tensor, given_BGF: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
        """The normalised states (B, C, N) the times `later` (B,) after `state`."""
        share = later / (self.horizon_steps * self.problem.time_step)
        clock = (2 * share - 1)[:, None, None].expand(-1, given_BGF.shape[1], 1)
        change_BGC = self.network(torch.cat([given_BGF, clock], dim=-1))
        grown = later / (later + self.problem.time_step)
        found: torch.Tensor = state_BCN + grown[:, None, None] * change_BGC.movedim(-1, 1).reshape(
            state_BCN.shape
        )
        return found


def _places(problem: Problem) -> np.ndarray:
    """What tells the network the place of each cell, (N, F); nothing for particles."""
    if problem.spec.has_particles:
        return np.empty((problem.spec.shape[0], 0))
    centres = [(np.arange(size) + 0.5) / size for size in problem.spec.shape]
    features = []
    for share, boundary in zip(np.meshgrid(*centres, indexing="ij"), problem.spec.boundaries, strict=True):
        if boundary == "periodic":
            angles = 2 * np.pi * np.arange(1, _WAVES + 1) * share.reshape(-1, 1)
            features += [np.cos(angles), np.sin(angles)]
        else:
            features.append(2 * share.reshape(-1, 1) - 1)
    return np.concatenate(features, axis=1)
