"""The deep operator network with the solver's equation in its loss.

Shape letters: B batch, R random times, C channels, F branch channels; M stands for the modes of all axes,
X for all sites.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from simsurrogate.errors import UserError
from surrogates.arguments import check_minimum
from surrogates.contract import Batch, Problem
from surrogates.grids.constraints import Constraint
from surrogates.networks import taylor_mode
from surrogates.networks.taylor_mode import Jet
from surrogates.operator_network import OperatorNetwork
from surrogates.physics.boundary_support import boundary_incompatibility
from surrogates.physics.grid_derivatives import GridDerivatives
from surrogates.physics.residual import Equation

#: The number of different shifts in `_decorrelated_jets`, equally spaced over the box.
_NUM_SHIFTS = 13


class PIDeepONet(OperatorNetwork):
    """The network of `DeepONet`, trained on the residual of the equation, on data, or on both.

    The residual is that of the solver (`Problem.residual`), at all cells and at random times within the
    horizon. The modes of the trunk have exact derivatives. The derivatives of the initial state and of the
    coefficient fields are computed on the grid (`GridDerivatives`). The initial state, its values at
    dirichlet walls and its slopes at neumann walls hold exactly, because the trunk changes none of them. The
    loss therefore has no term for initial and boundary conditions.

    The loss of an equation is the root mean square of its residual, relative to a typical size of its terms.
    The typical size is the residual of the initial state with each derivative taken at another place, where
    the terms do not cancel.

    Options:
        width, modes, layers, functions, horizon_steps: see `DeepONet`.
        times: random times of the residual, per window and training step.
        data_weight: the weight of the loss `data` of `DeepONet`. With 0, training uses only the first frame
            of each window.
        constraints: constraints that hold exactly, in the residual too, see `Constraints`. `boundary` is
            built in.

    Raises:
        UserError: see `DeepONet`; a negative weight; a flux through a wall, or different boundary values
            where walls meet; initial states that do not satisfy the boundary conditions; discontinuous
            coefficients.

    Source: Wang, Wang & Perdikaris 2021, "Learning the solution operator of parametric partial differential
    equations with physics-informed DeepONets" (doi:10.1126/sciadv.abi8605).
    """

    physics_informed = True
    built_in = ("boundary",)

    def __init__(
        self,
        problem: Problem,
        *,
        width: int,
        modes: int | Sequence[int],
        layers: int,
        functions: int,
        horizon_steps: int,
        times: int,
        data_weight: float,
        constraints: Sequence[Constraint] = (),
    ):
        super().__init__(
            problem,
            width=width,
            modes=modes,
            layers=layers,
            functions=functions,
            horizon_steps=horizon_steps,
            constraints=constraints,
        )
        check_minimum(1, times=times)
        check_minimum(0, data_weight=data_weight)
        self.num_random = times
        self.data_weight = data_weight
        equations = () if problem.residual is None else Equation(problem).names
        self.losses = (*(f"residual_{name}" for name in equations), *(["data"] if data_weight else []))
        self.grid_derivatives = GridDerivatives(problem)

    @classmethod
    def _incompatibility(cls, problem: Problem) -> str | None:
        """Return why this surrogate cannot learn the problem, or None if it can."""
        reason = super()._incompatibility(problem) or boundary_incompatibility(problem)
        if reason is not None:
            return reason
        if not problem.spec.compatible_initial_state:
            return (
                "the initial states do not satisfy the boundary conditions, so its predictions would violate "
                "the boundary conditions without an effect on its loss"
            )
        if not problem.spec.smooth_coefficients:
            return "a coefficient field is discontinuous, and the equation has no residual at a discontinuity"
        return None

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the losses `residual_NAME`, one per equation, and `data` unless its weight is 0."""
        start_BXC, coefficients_BFM = self._start_and_coefficients(batch)
        losses = self._residual_losses(batch, start_BXC, coefficients_BFM)
        if self.data_weight > 0:
            losses["data"] = self.data_weight * self._data_loss(batch, start_BXC, coefficients_BFM)
        return losses

    def equation_residuals(
        self, batch: Batch, channels: list[Jet], duration_BR: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the residual of each equation, (B, R, *sites), in its unit.

        Args:
            batch: the batch, for its parameters, coefficient fields and times.
            channels: the normalised channels of the state, each (B, R, *sites).
            duration_BR: the times since the first frames, s.

        Raises:
            UserError: the model was loaded and has no equation.
        """
        problem = self.problem
        if problem.residual is None:
            raise UserError(
                "A loaded model has no equation to be trained on. Only the train stage provides the "
                "equation. Type python -m pipeline.train surrogate=pi_deeponet."
            )
        unit_axes = [1] * len(problem.spec.shape)
        state_std, state_mean = self.inputs.state_std, self.inputs.state_mean
        fields: dict[str, object] = {
            name: jet * state_std[index] + state_mean[index]
            for index, (name, jet) in enumerate(zip(problem.spec.channels, channels, strict=True))
        }
        for index, name in enumerate(problem.spec.coefficient_channels):
            fields[name] = self.grid_derivatives.jet(batch["coefficient_fields"][:, None, index])
        if not problem.spec.autonomous:
            time_BR = batch["time"][:, :1] + duration_BR
            fields["t"] = taylor_mode.coordinate(time_BR.view(*time_BR.shape, *unit_axes), "t")
        parameters = {
            name: batch["parameters"][:, index].view(-1, 1, *unit_axes)
            for index, name in enumerate(problem.spec.parameter_names)
        }
        residuals = problem.residual(fields, taylor_mode.derivative, parameters)
        return {name: taylor_mode.value(values) for name, values in residuals.items()}

    def _residual_losses(
        self, batch: Batch, start_BXC: torch.Tensor, coefficients_BFM: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the relative residual of each equation, see the class."""
        duration_BR = batch["random"] * self.trunk.horizon
        amplitudes = self.trunk.amplitudes(coefficients_BFM, duration_BR).linear(self._apply_constraints)
        start_jets = [self.grid_derivatives.jet(channel_BX[:, None]) for channel_BX in start_BXC.unbind(-1)]
        predicted_jets = [
            jet + self.trunk.field(amplitudes[:, :, index]) for index, jet in enumerate(start_jets)
        ]
        residuals = self.equation_residuals(batch, predicted_jets, duration_BR)
        typical_residuals = self.equation_residuals(batch, self._decorrelated_jets(start_jets), duration_BR)
        sites = tuple(range(2, 2 + len(self.problem.spec.shape)))
        losses = {}
        for name, values in residuals.items():
            mean_square = typical_residuals[name].square().mean(sites)
            # For a constant initial state the typical size is 0; a scale of 1 avoids the division by zero.
            scale = torch.where(mean_square > 0, mean_square, 1.0)
            losses[f"residual_{name}"] = (values.square().mean(sites) / scale).sqrt().mean()
        return losses

    def _apply_constraints(self, amplitudes_BRCM: torch.Tensor) -> torch.Tensor:
        """Return the amplitudes of the constrained change; the constraints are linear in the change."""
        if not self.constraints.projections:
            return amplitudes_BRCM
        change_BRXC = self.trunk.field(amplitudes_BRCM).value.movedim(2, -1)
        constrained_BRXC = self.constraints(change_BRXC, torch.zeros_like(change_BRXC))
        return self.trunk.coefficients(constrained_BRXC.flatten(0, 1)).view_as(amplitudes_BRCM)

    def _decorrelated_jets(self, start_jets: list[Jet]) -> list[Jet]:
        """Return channels with each derivative taken at another place, where no two terms cancel."""
        statistics, time_step = self.problem.statistics, self.problem.time_step
        num_axes = len(self.problem.spec.shape)
        axes = ("t", *self.problem.spec.axis_names)

        def shifted_jet(jet: Jet, shift: int) -> Jet:
            cells = [shift * size // _NUM_SHIFTS for size in self.problem.spec.shape]
            values = jet.value.roll(cells, tuple(range(-num_axes, 0)))
            return Jet(
                values,
                lambda axis: shifted_jet(taylor_mode.derivative(jet, axis), shift + 1 + axes.index(axis)),
            )

        def jet_with_rate(jet: Jet, rate: float) -> Jet:
            return Jet(
                jet.value,
                lambda axis: jet * rate if axis == "t" else taylor_mode.derivative(jet, axis),
            )

        rates = [
            delta / (std or 1.0) / time_step
            for delta, std in zip(statistics.delta_std, statistics.std, strict=True)
        ]
        return [
            shifted_jet(jet_with_rate(jet, rate), 4 * index)
            for index, (jet, rate) in enumerate(zip(start_jets, rates, strict=True))
        ]
