"""The residual of the solver's equations in units of its usual size, with the derivatives that it uses.

Shape letters: E equations; X stands for all points, and, for particles, all bodies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from simsurrogate.errors import UserError
from surrogates.arguments import nonzero_std
from surrogates.contract import Problem
from surrogates.networks.taylor_mode import Jet, Orders, derivative, orders, value
from surrogates.physics.forward_laplacian import LinearOperator, Residual, find_operator

#: The number of random states from which the usual size of a residual is computed.
_NUM_STATES = 1024


class Equation:
    """The equations of a problem, each residual (left side minus right side) divided by its usual size.

    The usual size of a residual is the median of its magnitude over random states. The fields and their
    derivatives are drawn independently from normal distributions. A field has the mean and standard deviation
    of the data. A derivative has the standard deviation of its field divided by the duration, or by
    1 / (2π) of the extent of an axis. The important terms are then of order 1 in any units.

    Attributes:
        names: the names of the equations.
        orders: the derivatives that the equations use; None where these are mixed or above the second.
        operator: the derivatives that the equations use only as one weighted sum; None without such a sum.
        scales: the usual sizes (E,), float64.

    Raises:
        UserError: the problem has no residual, because it was loaded or made for data-driven surrogates.
    """

    def __init__(self, problem: Problem):
        if problem.residual is None:
            raise UserError(
                "The problem was loaded with a model and has no residual. A physics-informed surrogate needs "
                "the residual of the solver. Type python -m pipeline.train."
            )
        self._residual: Callable[..., Mapping[str, Any]] = problem.residual
        generator = torch.Generator().manual_seed(0)
        fields, parameters, lengths = _random_fields(problem, generator)
        self.orders: Orders | None = orders(
            self._residual_of_fields(parameters),
            {name: values for name, (values, _) in fields.items()},
        )
        jets = {
            name: _random_jet(values, size, lengths, generator) for name, (values, size) in fields.items()
        }
        residuals = self._residual_of_fields(parameters)(jets)
        self.names = tuple(residuals)
        sizes = [value(residual).abs().median().item() for residual in residuals.values()]
        self.scales = torch.tensor(
            [size if 0 < size < math.inf else 1.0 for size in sizes], dtype=torch.float64
        )
        self.operator: LinearOperator | None = None
        if self.orders is not None:
            other_jets = {name: jets[name] for name in (*problem.spec.coefficient_channels, "t")}
            for name in problem.spec.channels:
                values, size = fields[name]
                other_jets[name] = _random_jet(values.roll(1, 0), size, lengths, generator)
            self.operator = find_operator(
                self._residual_of_fields(parameters), problem.spec.channels, (jets, other_jets), self.orders
            )
            if self.operator is not None:
                self.orders = replace(self.orders, weighted_sum=self.operator.paths)

    def operator_weights(self, fields: Mapping[str, Any], parameters: Mapping[str, Any]) -> torch.Tensor:
        """Return the weights (M, P) of the derivatives `orders.weighted_sum` at M points.

        The weights depend on `parameters`, and on those of the `fields` that are not channels of the state.
        """
        assert self.operator is not None, "the equations have no weighted sum of derivatives"
        return self.operator.weights(self._residual_of_fields(parameters), fields)

    def __call__(
        self, fields: Mapping[str, Any], differentiate: Callable[..., Any], parameters: Mapping[str, Any]
    ) -> torch.Tensor:
        """Return the residuals (*X, E); the arguments are those of `solvers.contract.Solver.residual`."""
        residuals = self._residual(fields, differentiate, parameters)
        columns = torch.broadcast_tensors(*(value(residual) for residual in residuals.values()))  # type: ignore[no-untyped-call]
        return torch.stack(columns, dim=-1) / self.scales.to(columns[0])

    def _residual_of_fields(self, parameters: Mapping[str, Any]) -> Residual:
        """Return the residuals as a function of the jets of the fields."""
        return lambda fields: self._residual(fields, derivative, parameters)


def _random_fields(
    problem: Problem, generator: torch.Generator
) -> tuple[dict[str, tuple[torch.Tensor, float]], dict[str, torch.Tensor], dict[str, float]]:
    """Return random fields with their standard deviations, random parameters, and the length of each axis.

    A length is in s for the time and in the unit of the axis otherwise.
    """
    bodies = problem.spec.shape if problem.spec.has_particles else ()
    statistics = problem.statistics
    fields = {}
    for names, means, stds in (
        (problem.spec.channels, statistics.mean, statistics.std),
        (problem.spec.coefficient_channels, statistics.coefficient_mean, statistics.coefficient_std),
    ):
        for name, mean, std, size in zip(names, means, stds, nonzero_std(stds), strict=True):
            normal = torch.randn(_NUM_STATES, *bodies, generator=generator, dtype=torch.float64)
            fields[name] = mean + std * normal, float(size)
    body_axes = [1] * len(bodies)
    parameters = {
        name: low
        + (high - low) * torch.rand(_NUM_STATES, *body_axes, generator=generator, dtype=torch.float64)
        for name, (low, high) in zip(problem.spec.parameter_names, problem.spec.parameter_ranges, strict=True)
    }
    time = torch.rand(_NUM_STATES, *body_axes, generator=generator, dtype=torch.float64)
    fields["t"] = problem.duration * time, problem.duration
    lengths = {axis.name: axis.extent / (2 * math.pi) for axis in problem.spec.axes}
    return fields, parameters, lengths | {"t": problem.duration}


def _random_jet(
    values: torch.Tensor, size: float, lengths: Mapping[str, float], generator: torch.Generator
) -> Jet:
    """Return a jet with random derivatives of the given size, divided by the length of each axis."""

    def along(axis: str) -> Jet:
        derivative_size = size / lengths[axis]
        normal = torch.randn(values.shape, generator=generator, dtype=torch.float64)
        return _random_jet(derivative_size * normal, derivative_size, lengths, generator)

    return Jet(values, along)
