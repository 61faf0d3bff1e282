"""The deep operator network with the solver's equation in its loss.

Shape letters: B batch, R random times, C channels; M stands for the modes of all axes, X for all sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from simsurrogate.errors import UserError
from surrogates.contract import Batch, Problem
from surrogates.grids.constraints import Constraint
from surrogates.networks import taylor_mode
from surrogates.networks.taylor_mode import Jet
from surrogates.operator_network import OperatorNetwork
from surrogates.physics.boundary_support import boundary_incompatibility
from surrogates.physics.grid_derivatives import GridDerivatives
from surrogates.physics.residual import Equation

#: Places, spread over the box, from which `_apart` takes derivatives.
_PLACES = 13


class PIDeepONet(OperatorNetwork):
    """The network of `DeepONet`, trained on how far it is from solving the equation, on data, or on both.

    The residual is that of the solver (`Problem.residual`), at all cells and at random times within the
    horizon. The modes of the trunk have exact derivatives; the state at the start and the coefficient fields
    are differentiated on the grid (`GridDerivatives`). The initial state, the values at dirichlet walls and
    the normal derivatives at neumann walls are exact, so none of them is in the loss. The loss of an equation
    is the root mean square of its residual, divided by its typical size. The typical size is the residual
    with each derivative taken at another position, so that the terms do not cancel.

    Options:
        width, modes, layers, functions, horizon_steps: see `DeepONet`.
        times: random times at which the equation is looked at, of each window and step.
        data_weight: of the loss `data`, that of `DeepONet`; at 0 no frame but the first of a window is used.
        constraints: what holds exactly, in the equation too, see `Constraints`; walls do without.

    Raises:
        UserError: see `DeepONet`; a negative weight; a flux through a wall, or walls that disagree where
            they meet; initial states that do not meet the walls; coefficients that jump.

    Source: Wang, Wang & Perdikaris 2021, "Learning the solution operator of parametric partial differential
    equations with physics-informed DeepONets" (doi:10.1126/sciadv.abi8605).
    """

    physics_informed = True
    met = ("boundary",)

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
        if times < 1 or not data_weight >= 0:
            raise UserError(
                f"surrogate.times={times} must be at least 1, and surrogate.data_weight={data_weight} at "
                "least 0"
            )
        self.num_random = times
        self.data_weight = data_weight
        equations = () if problem.residual is None else Equation(problem).names
        self.losses = (*(f"residual_{name}" for name in equations), *(["data"] if data_weight else []))
        self.grid_derivatives = GridDerivatives(problem)

    @classmethod
    def incompatibility(cls, problem: Problem) -> str | None:
        """See `Surrogate.incompatibility`."""
        reason = super().incompatibility(problem) or boundary_incompatibility(problem)
        if reason is not None:
            return reason
        if not problem.spec.compatible_initial_state:
            return (
                "initial states do not meet the conditions at the walls, its answers never would, and its "
                "loss does not tell"
            )
        if not problem.spec.smooth_coefficients:
            return "a coefficient field jumps, where the equation has no residual"
        return None

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The losses `residual_NAME`, one an equation, and, unless its weight is 0, `data` of a batch of
        windows.
        """
        start_BXC, coefficients_BFM = self._start(batch)
        losses = self._residual_losses(batch, start_BXC, coefficients_BFM)
        if self.data_weight > 0:
            losses["data"] = self.data_weight * self._data_loss(batch, start_BXC, coefficients_BFM)
        return losses

    def _residual_losses(
        self, batch: Batch, start_BXC: torch.Tensor, coefficients_BFM: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        later_BR = batch["random"] * self.trunk.horizon
        amplitudes = self.trunk.amplitudes(coefficients_BFM, later_BR).linear(self._held)
        start = [self.grid_derivatives.jet(each[:, None]) for each in start_BXC.unbind(-1)]
        now = [each + self.trunk.field(amplitudes[:, :, place]) for place, each in enumerate(start)]
        residuals = self.equations(batch, now, later_BR)
        unrelated = self.equations(batch, self._apart(start), later_BR)
        sites = tuple(range(2, 2 + len(self.problem.spec.shape)))
        losses = {}
        for name, values in residuals.items():
            typical = unrelated[name].square().mean(sites)
            # A uniform start gives no scale.
            scale = torch.where(typical > 0, typical, 1.0)
            losses[f"residual_{name}"] = (values.square().mean(sites) / scale).sqrt().mean()
        return losses

    def _held(self, amplitudes_BRCM: torch.Tensor) -> torch.Tensor:
        """The amplitudes of a change from which the constraints, linear in it, have taken what they take."""
        if not self.constraints.parts:
            return amplitudes_BRCM
        change_BRXC = self.trunk.field(amplitudes_BRCM).value.movedim(2, -1)
        held_BRXC = self.constraints(change_BRXC, torch.zeros_like(change_BRXC))
        return self.trunk.coefficients(held_BRXC.flatten(0, 1)).view_as(amplitudes_BRCM)

    def equations(self, batch: Batch, normal: list[Jet], later_BR: torch.Tensor) -> dict[str, torch.Tensor]:
        """The residual of each equation, (B, R, *sites) in its unit, of the normalised channels."""
        problem = self.problem
        if problem.residual is None:
            raise UserError(
                "this model has no equation to be trained on: it was loaded; train it with the train stage"
            )
        ones = [1] * len(problem.spec.shape)
        state_std, state_mean = self.inputs.state_std, self.inputs.state_mean
        fields: dict[str, Any] = {
            name: each * state_std[place] + state_mean[place]
            for place, (name, each) in enumerate(zip(problem.spec.channels, normal, strict=True))
        }
        for place, name in enumerate(problem.spec.coefficient_channels):
            fields[name] = self.grid_derivatives.jet(batch["coefficient_fields"][:, None, place])
        if not problem.spec.autonomous:
            time_BR = batch["time"][:, :1] + later_BR
            fields["t"] = taylor_mode.coordinate(time_BR.view(*time_BR.shape, *ones), "t")
        parameters = {
            name: batch["parameters"][:, place].view(-1, 1, *ones)
            for place, name in enumerate(problem.spec.parameter_names)
        }
        found = problem.residual(fields, taylor_mode.derivative, parameters)
        return {name: taylor_mode.value(values) for name, values in found.items()}

    def _apart(self, start: list[Jet]) -> list[Jet]:
        """Channels whose derivatives are each taken at another place, so that no two terms cancel."""
        statistics, time_step = self.problem.statistics, self.problem.time_step
        num_axes = len(self.problem.spec.shape)
        axes = ("t", *self.problem.spec.axis_names)

        def moved(jet: Jet, places: int) -> Jet:
            shifts = [places * size // _PLACES for size in self.problem.spec.shape]
            values = jet.value.roll(shifts, tuple(range(-num_axes, 0)))
            return Jet(
                values, lambda axis: moved(taylor_mode.derivative(jet, axis), places + 1 + axes.index(axis))
            )

        def with_rate(jet: Jet, rate: float) -> Jet:
            return Jet(
                jet.value,
                lambda axis: jet * rate if axis == "t" else taylor_mode.derivative(jet, axis),
            )

        rates = [
            delta / (std or 1.0) / time_step
            for delta, std in zip(statistics.delta_std, statistics.std, strict=True)
        ]
        return [
            moved(with_rate(jet, rate), 4 * place)
            for place, (jet, rate) in enumerate(zip(start, rates, strict=True))
        ]
