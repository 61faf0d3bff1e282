"""A perceptron that predicts the state at any later time in one query.

Shape letters: B batch, T times, C channels, N sites, K coefficient fields, Q evaluations of the network for a
trajectory (1 for particles, N for a grid), F inputs of the network apart from the time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from simsurrogate.spec import cell_fractions
from surrogates.arguments import (
    check_minimum,
    check_window,
    initial_states,
    nonzero_std,
    parameter_tensors,
    restarted_predictions,
    set_constants,
)
from surrogates.contract import Array, Batch, ParameterValues, Prediction, Problem, Surrogate
from surrogates.grids.constraints import Constraint, Constraints
from surrogates.inference import CHUNK_BYTES

#: The number of Fourier modes along a periodic axis. The cosine and the sine of each mode are inputs.
_WAVES = 4


class MLP(Surrogate):
    """A perceptron that predicts the change of the state since a first frame.

        u(t + τ) = u(t) + σ τ/(τ + Δt) N(·, τ)    for any 0 ≤ τ ≤ `horizon_steps` Δt

    N is a perceptron; σ is the standard deviation of each channel, Δt the time between two frames of the
    data. Times beyond the horizon take several queries, one after the other. The loss is the mean squared
    error over all frames of a window, in units of σ².

    For particles, N predicts the change of all particles at once. Its inputs are the normalised states and
    coefficient fields of all particles, the scalar parameters, and the time t if the equation depends on
    time.

    On a grid, N predicts the change at one position. The inputs are the position x, the scalar parameters,
    and the time t since the start of the trajectory. Along a periodic axis, cosines and sines of the lowest
    Fourier modes represent the position. N learns the solutions themselves, so the scalar parameters must
    determine the trajectories, and `times` counts from the start of the trajectory.

    Options:
        width: the width of the hidden layers.
        layers: the number of hidden layers.
        horizon_steps: the time steps that one query covers; the windows of the training have this length.
        points: the number of random cells of each window that a training step uses. A grid with fewer cells
            uses all cells. The option has no effect on particles.
        constraints: the constraints that predictions on a grid satisfy exactly, see `Constraints`. Training
            uses single cells and no constraints.

    Raises:
        UserError: the sites are the cells of a grid, and scalar parameters do not determine the trajectory;
            an option is below 1; the windows have another length; a constraint does not fit the problem.

    Source: Breen, Foley, Boekholt & Portegies Zwart 2020 (doi:10.1093/mnras/staa713), for three bodies.
    """

    kernel = "_query"
    weighted = True
    state_mean: torch.Tensor
    state_std: torch.Tensor
    coefficient_mean: torch.Tensor
    coefficient_std: torch.Tensor
    condition_mean: torch.Tensor
    condition_std: torch.Tensor
    positions: torch.Tensor

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
        check_minimum(1, width=width, layers=layers, horizon_steps=horizon_steps, points=points)
        self.width, self.horizon_steps = width, horizon_steps
        self._num_sites = math.prod(problem.spec.shape)
        self.uses_initial_state = self.rows_are_times = problem.spec.has_particles
        self.uses_time = not (problem.spec.has_particles and problem.spec.autonomous)
        if not problem.spec.has_particles and points < self._num_sites:
            self.num_random = points
        statistics = problem.statistics
        half_duration = (problem.duration / 2,) if self.uses_time else ()
        set_constants(
            self,
            state_mean=np.array(statistics.mean)[:, None],
            state_std=nonzero_std(statistics.std)[:, None],
            coefficient_mean=np.array(statistics.coefficient_mean)[:, None],
            coefficient_std=nonzero_std(statistics.coefficient_std)[:, None],
            condition_mean=np.array((*statistics.parameter_mean, *half_duration)),
            condition_std=nonzero_std((*statistics.parameter_std, *half_duration)),
            positions=_position_features(problem),
        )
        num_out = len(problem.spec.channels)
        num_inputs = self.positions.shape[-1]
        if problem.spec.has_particles:
            num_inputs = (num_out + len(problem.spec.coefficient_channels)) * self._num_sites
            num_out *= self._num_sites
        num_in = num_inputs + len(self.condition_mean) + 1
        widths = itertools.chain([num_in], itertools.repeat(width, layers))
        hidden_layers = [
            (nn.Linear(num_before, num_after), nn.GELU())
            for num_before, num_after in itertools.pairwise(widths)
        ]
        self.network = nn.Sequential(*itertools.chain(*hidden_layers), nn.Linear(width, num_out))

    @classmethod
    def _incompatibility(cls, problem: Problem) -> str | None:
        """Return why the perceptron cannot learn the problem, or None, see `Surrogate`."""
        if problem.spec.has_particles or problem.spec.parametric:
            return None
        return (
            "on a grid it needs trajectories that are functions of the scalar parameters, but these data "
            "have random initial fields or coefficient fields"
        )

    @classmethod
    def unused_options(cls, options: Mapping[str, Any], problem: Problem) -> Iterator[tuple[str, str]]:
        """Yield `points` for particles, see `Surrogate.unused_options`."""
        if problem.spec.has_particles:
            yield "points", f"the particles of the {problem.spec.name} data"

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the loss `data` of a batch of windows: all later frames, predicted from the first."""
        check_window(batch, self.horizon_steps)
        frames_BTCN = (batch["state"].flatten(3) - self.state_mean) / self.state_std
        weight_BTCN = batch["weight"][:, 1:].flatten(3) if "weight" in batch else None
        positions_BNF = self.positions.expand(len(frames_BTCN), *self.positions.shape)
        if self.num_random:
            sites_BN = (batch["random"] * self._num_sites).long()
            positions_BNF = self.positions[sites_BN]
            index = sites_BN[:, None, None].expand(*frames_BTCN.shape[:3], -1)
            frames_BTCN = frames_BTCN.gather(3, index)
            if weight_BTCN is not None:
                weight_BTCN = weight_BTCN.gather(3, index[:, 1:])
        inputs_BQF = self._inputs(
            frames_BTCN[:, 0],
            batch["coefficient_fields"].flatten(2),
            positions_BNF,
            batch["parameters"],
            batch["time"][:, 0],
        )
        elapsed_BT = batch["time"][:, 1:] - batch["time"][:, :1]
        start = frames_BTCN[:, 0].repeat_interleave(self.horizon_steps, dim=0)
        inputs = inputs_BQF.repeat_interleave(self.horizon_steps, dim=0)
        prediction = self._query(start, inputs, elapsed_BT.flatten())
        squares = (prediction - frames_BTCN[:, 1:].flatten(0, 1)).square()
        if weight_BTCN is not None:
            squares = squares * weight_BTCN.flatten(0, 1)
        return {"data": squares.mean()}

    def _predict(self, initial_state: Array, parameters: ParameterValues, times: Array) -> Prediction:
        """Return the states at increasing `times`, each by one query if the horizon allows one query."""
        state = initial_states(self.problem, initial_state, self.state_mean)
        coefficients, scalars = parameter_tensors(self.problem, parameters, len(state), self.state_mean)
        positions = self.positions.expand(len(state), *self.positions.shape)

        def query(normalised_BCN: torch.Tensor, time: float, durations: np.ndarray) -> torch.Tensor:
            time_B = state.new_full((len(state),), time)
            inputs_BQF = self._inputs(normalised_BCN, coefficients.flatten(2), positions, scalars, time_B)
            # As many times at once as a cache holds: all times for particles, a single one on a large grid.
            num_hidden = inputs_BQF.shape[:2].numel() * self.width
            num_times = max(1, CHUNK_BYTES // (num_hidden * state.element_size()) // 4 * 4)
            elapsed_T = state.new_tensor(durations)
            if num_times > 1 and inputs_BQF.shape[:2].numel() % 4:
                # BLAS rounds a number of rows that is not a multiple of 4 differently. With a multiple, the
                # prediction at a time does not depend on the other times.
                elapsed_T = nn.functional.pad(elapsed_T, (0, -len(elapsed_T) % 4))
            states = [
                self._query(
                    normalised_BCN.repeat_interleave(len(part_T), dim=0),
                    inputs_BQF.repeat_interleave(len(part_T), dim=0),
                    part_T.repeat(len(state)),
                ).view(len(state), len(part_T), *normalised_BCN.shape[1:])
                for part_T in torch.split(elapsed_T, num_times)
            ]
            return self._apply_constraints(torch.cat(states, dim=1)[:, : len(durations)], normalised_BCN)

        normalised_BCN = (state.flatten(2) - self.state_mean) / self.state_std
        horizon = self.horizon_steps * self.problem.time_step
        later = [
            torch.unflatten(states_BTCN * self.state_std + self.state_mean, -1, state.shape[2:])
            for states_BTCN in restarted_predictions(normalised_BCN, times, horizon, query)
        ]
        return Prediction(torch.cat([state[:, None], *later], dim=1))

    def _apply_constraints(self, states_BTCN: torch.Tensor, start_BCN: torch.Tensor) -> torch.Tensor:
        """Return normalised states with the constraints applied."""
        states_BTXC, start_BTXC = (
            states.view(*states.shape[:3], *self.problem.spec.shape).movedim(2, -1)
            for states in (states_BTCN, start_BCN[:, None])
        )
        constrained_BTXC: torch.Tensor = self.constraints(states_BTXC, start_BTXC)
        return constrained_BTXC.movedim(-1, 2).flatten(3)

    def _inputs(
        self,
        state_BCN: torch.Tensor,
        coefficients_BKN: torch.Tensor,
        positions_BNF: torch.Tensor,
        parameters: torch.Tensor,
        time: torch.Tensor,
    ) -> torch.Tensor:
        """Return the normalised inputs of N without τ, (B, Q, F)."""
        conditions = torch.cat([parameters, time[:, None]], dim=-1) if self.uses_time else parameters
        normalised_conditions = ((conditions - self.condition_mean) / self.condition_std)[:, None]
        if not self.problem.spec.has_particles:
            return torch.cat(
                [positions_BNF, normalised_conditions.expand(-1, positions_BNF.shape[1], -1)], dim=-1
            )
        fields = (coefficients_BKN - self.coefficient_mean) / self.coefficient_std
        return torch.cat(
            [state_BCN.flatten(1)[:, None], fields.flatten(1)[:, None], normalised_conditions], dim=-1
        )

    def _query(
        self, state_BCN: torch.Tensor, inputs_BQF: torch.Tensor, elapsed_B: torch.Tensor
    ) -> torch.Tensor:
        """Return the normalised states (B, C, N) at the elapsed times after `state_BCN`."""
        fraction_B = elapsed_B / (self.horizon_steps * self.problem.time_step)
        time_input = (2 * fraction_B - 1)[:, None, None].expand(-1, inputs_BQF.shape[1], 1)
        change_BQC = self.network(torch.cat([inputs_BQF, time_input], dim=-1))
        growth_B = elapsed_B / (elapsed_B + self.problem.time_step)
        change_BCN = change_BQC.movedim(-1, 1).reshape(state_BCN.shape)
        later_BCN: torch.Tensor = state_BCN + growth_B[:, None, None] * change_BCN
        return later_BCN


def _position_features(problem: Problem) -> np.ndarray:
    """Return the inputs of the network for the position of each cell, (N, F); (N, 0) for particles."""
    if problem.spec.has_particles:
        return np.empty((problem.spec.shape[0], 0))
    centres = [cell_fractions(size) for size in problem.spec.shape]
    features = []
    for fraction, boundary in zip(np.meshgrid(*centres, indexing="ij"), problem.spec.boundaries, strict=True):
        if boundary == "periodic":
            angles = 2 * np.pi * np.arange(1, _WAVES + 1) * fraction.reshape(-1, 1)
            features += [np.cos(angles), np.sin(angles)]
        else:
            features.append(2 * fraction.reshape(-1, 1) - 1)
    return np.concatenate(features, axis=1)
