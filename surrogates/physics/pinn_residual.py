"""The residual of a physics-informed network at collocation points.

Shape letters: B windows, M points, D their coordinates, E equations; N stands for the bodies of particles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from surrogates.contract import Problem
from surrogates.networks.taylor_mode import Jet, derivative, value
from surrogates.physics import deepxde_adapter
from surrogates.physics.initial_condition import initial_condition, initial_derivatives, initial_jets
from surrogates.physics.pinn_ansatz import PinnAnsatz
from surrogates.physics.residual import Equation


class PinnResidual:
    """The residual of the equations for the initial state plus the change that the ansatz returns.

    Derivatives are carried through the network in Taylor mode. Equations with mixed derivatives, or with
    derivatives above the second, are differentiated by reverse mode instead.

    Attributes:
        equation: the equations of the problem.
        has_particles: whether the sites are particles.

    Raises:
        UserError: the problem has no residual, see `Equation`.
    """

    def __init__(self, problem: Problem, ansatz: PinnAnsatz):
        self.equation = Equation(problem)
        self.has_particles = problem.spec.has_particles
        self._problem, self._ansatz = problem, ansatz

    def prepare(self, inputs_MD: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the inputs of the residual at the points, which do not depend on the weights."""
        if self.equation.orders is None:
            return {"inputs": inputs_MD}
        initial_values = initial_derivatives(
            self._problem, inputs_MD, self._ansatz.columns, self.equation.orders
        )
        points = {"inputs": inputs_MD, **initial_values}
        if self.equation.operator is not None:
            coordinates = self._ansatz.coordinates_by_name(inputs_MD)
            points["operator"] = self.equation.operator_weights(
                self._initial_jets(points, coordinates), self.scalars(coordinates)
            )
        return points

    def __call__(self, points: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the residuals (M, *N, E) at points from `prepare`."""
        if self.equation.orders is None:
            return self.reverse_mode_residuals(points["inputs"])
        coordinates = self._ansatz.coordinates_by_name(points["inputs"])
        change = self._ansatz.jet(points["inputs"], self.equation.orders, points.get("operator"))
        fields = self._initial_jets(points, coordinates)
        for index, name in enumerate(self._problem.spec.channels):
            fields[name] = fields[name] + change[:, index]
        return self.equation(fields, derivative, self.scalars(coordinates))

    def mean_squares(self, points: Mapping[str, torch.Tensor], num_windows: int) -> torch.Tensor:
        """Return the mean square over the equations at each point of the windows, (B, M), detached."""
        with torch.no_grad():
            residuals = self(points).flatten(1)
        return residuals.square().mean(1).view(num_windows, -1)

    def reverse_mode_residuals(self, inputs_MD: torch.Tensor) -> torch.Tensor:
        """Return the residuals (M, E) on a grid, with derivatives of any order by reverse mode."""
        inputs_MD = inputs_MD.detach().requires_grad_()
        with torch.enable_grad():
            coordinates = self._ansatz.coordinates_by_name(inputs_MD)
            change = self._ansatz(inputs_MD)
            fields = initial_condition(self._problem, inputs_MD, self._ansatz.columns)
            for index, name in enumerate(self._problem.spec.channels):
                fields[name] = fields[name] + change[:, index]
            differentiate = deepxde_adapter.reverse_mode(inputs_MD, self._ansatz.columns)
            fields["t"] = self._with_body_axis(coordinates["t"].value)
            scalars = {name: value(jet) for name, jet in self.scalars(coordinates).items()}
            return self.equation(fields, differentiate, scalars)

    def scalars(self, coordinates: Mapping[str, Jet]) -> dict[str, Jet]:
        """Return the scalar parameters of the points, which broadcast against the fields."""
        return {name: self._with_body_axis(coordinates[name]) for name in self._problem.spec.parameter_names}

    def _initial_jets(
        self, points: Mapping[str, torch.Tensor], coordinates: Mapping[str, Jet]
    ) -> dict[str, Jet]:
        """Return the fields at time 0, and the time."""
        return initial_jets(self._problem, points) | {"t": self._with_body_axis(coordinates["t"])}

    def _with_body_axis(self, values: Any) -> Any:
        """Return values (M,) of points; for particles with an axis for the bodies, (M, 1)."""
        return values[:, None] if self.has_particles else values
