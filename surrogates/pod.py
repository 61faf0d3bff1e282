"""A reduced basis of the training frames, with coefficients that a perceptron predicts.

Shape letters: B batch, T times, C channels, N sites, D = C N values of a frame, K modes, P scalar parameters,
L functionals, M frames; X stands for all sites.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from simsurrogate.errors import UserError
from surrogates.arguments import (
    check_minimum,
    increasing_times,
    initial_states,
    nonzero_std,
    parameter_tensors,
    set_constants,
)
from surrogates.contract import Array, Batch, ParameterValues, Prediction, Problem, Surrogate, TrainingFrames
from surrogates.grids.constraints import Constraint, Constraints
from surrogates.grids.linear_functionals import LinearFunctionals, through_constraints
from surrogates.grids.reduced_basis import reduced_basis
from surrogates.networks.affine_perceptron import AffinePerceptron


@dataclass(frozen=True)
class _KeptModes:
    """The mean frame (D,) and the modes (K, D) in physical units, of these buffers in these versions."""

    buffers: tuple[torch.Tensor, ...]
    versions: list[int]
    mean: torch.Tensor
    modes: torch.Tensor


class POD(Surrogate):
    """A reduced basis: proper orthogonal decomposition (POD) of the training frames, and a perceptron.

        u(x, t; p) = ū(x) + σ Σ_k c_k(p, t) φ_k(x)

    ū is the mean of the training frames, and σ is the standard deviation of each channel. The modes φ are
    orthonormal. They are the leading singular vectors of the frames, see `ReducedBasis`, computed once before
    the first step. The coefficients c are a perceptron of the scalar parameters p and the time t since the
    start of the trajectory. They are affine in the parameters in which the solution is affine
    (`Spec.linear_in`, see `AffinePerceptron`). The loss is the mean square error of the coefficients over the
    frames after the first, divided by the mean square of the coefficients about their mean.

    The error of a prediction has two orthogonal parts: the projection error, of the best coefficients
    (`closest`), and the regression error, of the perceptron. `functionals` and `at_cells` predict linear
    functionals and single points without a field.

    Options:
        modes: the largest number of modes.
        left_out_variance: the share of the variance of the frames about ū that the modes may leave out. The
            basis has the fewest modes that satisfy this bound.
        width: the width of the hidden layers.
        layers: the number of hidden layers.
        constraints: the constraints that predictions satisfy exactly, see `Constraints`. Training uses
            coefficients and no constraints.

    Raises:
        UserError: the sites are particles, or scalar parameters do not determine the trajectory; an option is
            out of range; a constraint does not fit the problem.

    Source: Hesthaven & Ubbiali 2018, "Non-intrusive reduced order modeling of nonlinear problems using neural
    networks" (doi:10.1016/j.jcp.2018.02.037).
    """

    rows_are_times = True
    state_mean: torch.Tensor
    state_std: torch.Tensor
    parameter_mean: torch.Tensor
    parameter_std: torch.Tensor
    mean_frame: torch.Tensor
    basis: torch.Tensor
    deviations: torch.Tensor
    num_modes: torch.Tensor

    def __init__(
        self,
        problem: Problem,
        *,
        modes: int,
        left_out_variance: float,
        width: int,
        layers: int,
        constraints: Sequence[Constraint] = (),
    ):
        super().__init__(problem)
        self.constraints = Constraints(problem, constraints)
        check_minimum(1, modes=modes, width=width, layers=layers)
        check_minimum(0, left_out_variance=left_out_variance)
        self.left_out_variance = left_out_variance
        self.uses_initial_state, self.uses_time = False, True
        spec, statistics = problem.spec, problem.statistics
        set_constants(
            self,
            state_mean=np.array(statistics.mean)[:, None],
            state_std=nonzero_std(statistics.std)[:, None],
            parameter_mean=np.array(statistics.parameter_mean),
            parameter_std=nonzero_std(statistics.parameter_std),
        )
        self._kept: _KeptModes | None = None
        num_values = len(spec.channels) * math.prod(spec.shape)
        max_modes = min(modes, num_values)
        # Rows of zeros follow the modes, because the number of modes follows from the data.
        self.register_buffer("mean_frame", torch.zeros(num_values))
        self.register_buffer("basis", torch.zeros(max_modes, num_values))
        self.register_buffer("deviations", torch.zeros(max_modes))
        self.register_buffer("num_modes", torch.tensor(0))
        self.network = AffinePerceptron(
            len(spec.parameters), spec.linear_parameters, max_modes, width=width, layers=layers
        )

    @classmethod
    def _incompatibility(cls, problem: Problem) -> str | None:
        """Return why there is no reduced basis for the problem, or None, see `Surrogate`."""
        reason = super()._incompatibility(problem)
        if reason is None and not problem.spec.parametric:
            return (
                "it needs trajectories that are functions of the scalar parameters, but these data have "
                "random initial fields or coefficient fields"
            )
        return reason

    def initialise(self, frames: TrainingFrames) -> str:
        """Compute the modes of the training frames, see `Surrogate.initialise`."""
        basis = reduced_basis(
            frames,
            lambda states: self._normalise(states.double()),
            num_values=len(self.mean_frame),
            device=self.basis.device,
            max_modes=len(self.basis),
            left_out=self.left_out_variance,
        )
        count = len(basis.modes)
        self.mean_frame.copy_(basis.mean)
        self.basis.zero_()[:count] = basis.modes.to(self.basis)
        self.deviations.zero_()[:count] = basis.deviations.to(self.deviations)
        self.num_modes.fill_(count)
        return f"{count} modes of {frames.num_frames} frames leave out {basis.left_out:.2g} of the variance"

    def encode(self, state: torch.Tensor) -> torch.Tensor:
        """Return the coefficients (M, K) of states (M, C, *sites), see `Surrogate.encode`."""
        return (self._normalise(state) - self.mean_frame) @ self.basis.T

    def closest(self, state: torch.Tensor) -> torch.Tensor:
        """Return the projections of states (M, C, *sites) onto the modes, see `Surrogate.closest`."""
        return self._states(self.encode(state)[:, None])[:, 0]

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the loss `data` of a batch: the coefficients of the frames after the first."""
        coefficients_BTK = frames = batch["state"]
        if frames.ndim > 3:
            coefficients_BTK = self.encode(frames.flatten(0, 1)).view(*frames.shape[:2], -1)
        predicted_BTK = self.coefficients(batch["parameters"], batch["time"][:, 1:])
        square_error = (predicted_BTK - coefficients_BTK[:, 1:]).square().sum(-1).mean()
        variance = self.deviations.square().sum()
        return {"data": square_error / torch.where(variance > 0, variance, 1.0)}

    def coefficients(self, parameters_BP: torch.Tensor, time_BT: torch.Tensor) -> torch.Tensor:
        """Return the coefficients c (B, T, K) at times (s) since the start of the trajectory."""
        normalised_BP = (parameters_BP - self.parameter_mean) / self.parameter_std
        fraction_BT = time_BT / (self.problem.duration / 2) - 1
        result_BTK: torch.Tensor = self.deviations * self.network(normalised_BP, fraction_BT)
        return result_BTK

    def functionals(self, weights: Array) -> LinearFunctionals:
        """Return the linear functionals Σ_cx w_cx u_cx of the predicted state, for weights (L, C, *sites).

        The sums over the sites are done here, once. The functionals then predict from the coefficients alone.

        Raises:
            UserError: the weights have another shape.
        """
        weights_LCX = initial_states(self.problem, weights, self.basis)
        mean, std = self._channel_statistics
        state_LCX, start_LCX, constant_L = through_constraints(self.constraints, weights_LCX * std)
        physical_start_LCX = start_LCX / std
        offset_L = (
            constant_L + (weights_LCX * mean).flatten(1).sum(1) + state_LCX.flatten(1) @ self.mean_frame
        )
        return LinearFunctionals(
            self.problem,
            self._training_range,
            self.coefficients,
            matrix=state_LCX.flatten(1) @ self.basis.T,
            offset=offset_L - (physical_start_LCX * mean).flatten(1).sum(1),
            start=physical_start_LCX if physical_start_LCX.any() else None,
        )

    def at_cells(self, cells: Sequence[Sequence[int]]) -> LinearFunctionals:
        """Return the predicted channels at cells, each given by one index along every axis.

        The functionals are ordered by cell, then by channel.

        Raises:
            UserError: a cell has another number of indices, or lies outside the grid.
        """
        spec = self.problem.spec
        for cell in cells:
            if len(cell) != len(spec.shape) or not all(
                0 <= index < size for index, size in zip(cell, spec.shape, strict=True)
            ):
                raise UserError(
                    f"The cell {tuple(cell)} is not in the grid of {' x '.join(map(str, spec.shape))} cells. "
                    "A cell has one index along each axis, counted from 0. Pass a list such as "
                    f"[{tuple(size // 2 for size in spec.shape)}]."
                )
        channels = range(len(spec.channels))
        weights = self.basis.new_zeros(len(cells), len(channels), len(channels), *spec.shape)
        for row, cell in enumerate(cells):
            for channel in channels:
                weights[(row, channel, channel, *cell)] = 1
        return self.functionals(weights.flatten(0, 1))

    def _predict(self, initial_state: Array, parameters: ParameterValues, times: Array) -> Prediction:
        """Return the states at increasing `times`, all by one product with the modes."""
        state_BCX = initial_states(self.problem, initial_state, self.basis)
        later_times = torch.from_numpy(increasing_times(times)[1:]).to(self.basis)
        # BLAS rounds a number of rows that is not a multiple of 4 differently. With a multiple, the
        # prediction at a time does not depend on the other times.
        num_missing = -len(later_times) % 4
        time = nn.functional.pad(later_times, (0, num_missing)) if num_missing else later_times
        _, scalars_BP = parameter_tensors(self.problem, parameters, len(state_BCX), self.basis)
        coefficients_BTK = self.coefficients(scalars_BP, time.expand(len(state_BCX), -1))
        if len(state_BCX) == 1 and not (torch.is_grad_enabled() or self.constraints.projections):
            return Prediction(
                self._single_prediction(state_BCX[0], coefficients_BTK)[:, : len(later_times) + 1]
            )
        later_BTCX = self._states(coefficients_BTK)[:, : len(later_times)]
        if self.constraints.projections:
            later_BTCX = self._apply_constraints(later_BTCX, state_BCX)
        return Prediction(torch.cat([state_BCX[:, None], later_BTCX], dim=1))

    def _single_prediction(self, state_CX: torch.Tensor, coefficients_1TK: torch.Tensor) -> torch.Tensor:
        """Return the first frame and the states of coefficients (1, 1 + T, C, *sites), without a copy.

        On large grids the copies would take as long as the product with the modes.
        """
        result_1TCX = state_CX.new_empty(1, 1 + coefficients_1TK.shape[1], *state_CX.shape)
        result_1TCX[:, 0] = state_CX
        self._states(coefficients_1TK, out=result_1TCX[0, 1:].flatten(1))
        return result_1TCX

    @property
    def _channel_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean and the standard deviation of each channel, (C, *unit axes)."""
        unit_axes = [1] * len(self.problem.spec.shape)
        return self.state_mean.view(-1, *unit_axes), self.state_std.view(-1, *unit_axes)

    def _normalise(self, state: torch.Tensor) -> torch.Tensor:
        """Return normalised states (M, D)."""
        return ((state.flatten(2) - self.state_mean) / self.state_std).flatten(1)

    def _states(self, coefficients_BTK: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Return the states (B, T, C, *sites) of coefficients, written into `out` (B T, D) if it is given."""
        spec = self.problem.spec
        mean_D, modes_KD = self._physical_modes()
        coefficients_RK = coefficients_BTK[..., : len(modes_KD)].flatten(0, 1)
        states_RD = torch.addmm(mean_D, coefficients_RK, modes_KD, out=out)
        return states_RD.view(*coefficients_BTK.shape[:2], len(spec.channels), *spec.shape)

    def _physical_modes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean frame (D,) and the modes (K, D) in physical units, kept until a buffer changes."""
        buffers = (self.num_modes, self.mean_frame, self.basis, self.state_mean, self.state_std)
        versions = [buffer._version for buffer in buffers]
        if (
            self._kept is None
            or self._kept.versions != versions
            or any(old is not new for old, new in zip(self._kept.buffers, buffers, strict=True))
        ):
            count, num_channels = int(self.num_modes), len(self.state_std)
            mean_CN = torch.addcmul(self.state_mean, self.state_std, self.mean_frame.view(num_channels, -1))
            modes_KCN = self.state_std * self.basis[:count].view(count, num_channels, -1)
            self._kept = _KeptModes(buffers, versions, mean_CN.flatten(), modes_KCN.flatten(1))
        return self._kept.mean, self._kept.modes

    def _apply_constraints(self, later_BTCX: torch.Tensor, start_BCX: torch.Tensor) -> torch.Tensor:
        """Return states that satisfy the constraints."""
        mean, std = self._channel_statistics
        later_BTXC = ((later_BTCX - mean) / std).movedim(2, -1)
        start_BTXC = ((start_BCX[:, None] - mean) / std).movedim(2, -1)
        constrained_BTXC: torch.Tensor = self.constraints(later_BTXC, start_BTXC)
        return constrained_BTXC.movedim(-1, 2) * std + mean
