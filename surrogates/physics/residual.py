"""The solver's residual as a surrogate's loss needs it: without units, and knowing what it asks for.

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
from surrogates.physics.forward_laplacian import Operator, operator

#: Random states from which the usual size of a residual is taken.
_NUM_DRAWS = 1024


class Equation:
    """The left sides minus the right sides of the equations of a problem, each over its usual size.

    The usual size of a residual is the median of its magnitude over random states: each field and each
    derivative is drawn by itself, normally; a field as its statistics say, a derivative with the standard
    deviation of its field over the duration, or over the extent of an axis / 2π. So the terms that matter are
    about 1 in any units, whatever the network.

    Attributes:
        names: of the equations.
        orders: the derivatives that they ask for; None where these are mixed or above the second.
        operator: which of these are needed as one weighted sum alone; None where none are.
        scales: the usual sizes (E,), float64.

    Raises:
        UserError: the problem has no residual: it was loaded, or made for a surrogate that needs none.
    """

    def __init__(self, problem: Problem):
        if problem.residual is None:
            raise UserError(
                "the problem has no residual: the losses of a physics-informed surrogate need the solver's, "
                "which is not saved with the model"
            )
        self._residual: Callable[..., dict[str, Any]] = problem.residual
        generator = torch.Generator().manual_seed(0)
        fields, parameters, lengths = _drawn(problem, generator)
        self.orders: Orders | None = orders(
            self._of(parameters),
            {name: values for name, (values, _) in fields.items()},
        )
        jets = {name: _random(values, size, lengths, generator) for name, (values, size) in fields.items()}
        found = self._of(parameters)(jets)
        self.names = tuple(found)
        sizes = [value(left).abs().median().item() for left in found.values()]
        self.scales = torch.tensor(
            [size if 0 < size < math.inf else 1.0 for size in sizes], dtype=torch.float64
        )
        self.operator: Operator | None = None
        if self.orders is not None:
            others = {name: jets[name] for name in (*problem.spec.coefficient_channels, "t")}
            for name in problem.spec.channels:
                values, size = fields[name]
                others[name] = _random(values.roll(1, 0), size, lengths, generator)
            self.operator = operator(self._of(parameters), problem.spec.channels, (jets, others), self.orders)
            if self.operator is not None:
                self.orders = replace(self.orders, together=self.operator.paths)

    def weights(self, fields: Mapping[str, Any], parameters: Mapping[str, Any]) -> torch.Tensor:
        """Those of the derivatives `orders.together` in their sum, (M, P), at points with these fields, of
        which those that have equations do not matter, and parameters.
        """
        assert self.operator is not None, "no derivatives are taken together"
        return self.operator.weights(self._of(parameters), fields)

    def __call__(
        self, fields: Mapping[str, Any], differentiate: Callable[..., Any], parameters: Mapping[str, Any]
    ) -> torch.Tensor:
        """The residuals (*X, E), from what `solvers.contract.Solver.residual` takes."""
        found = self._residual(fields, differentiate, parameters)
        columns = torch.broadcast_tensors(*(value(left) for left in found.values()))  # type: ignore[no-untyped-call]
        return torch.stack(columns, dim=-1) / self.scales.to(columns[0])

    def _of(self, parameters: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        """The residuals as a function of jets of the fields alone."""
        return lambda fields: self._residual(fields, derivative, parameters)


def _drawn(
    problem: Problem, generator: torch.Generator
) -> tuple[dict[str, tuple[torch.Tensor, float]], dict[str, torch.Tensor], dict[str, float]]:
    """Random fields with their standard deviations, parameters, and the length (s or m) of each axis."""
    bodies = problem.spec.shape if problem.spec.has_particles else ()
    statistics = problem.statistics
    fields = {}
    for names, means, stds in (
        (problem.spec.channels, statistics.mean, statistics.std),
        (problem.spec.coefficient_channels, statistics.coefficient_mean, statistics.coefficient_std),
    ):
        for name, mean, std, size in zip(names, means, stds, nonzero_std(stds), strict=True):
            normal = torch.randn(_NUM_DRAWS, *bodies, generator=generator, dtype=torch.float64)
            fields[name] = mean + std * normal, float(size)
    uniform = [1] * len(bodies)
    parameters = {
        name: low + (high - low) * torch.rand(_NUM_DRAWS, *uniform, generator=generator, dtype=torch.float64)
        for name, (low, high) in zip(problem.spec.parameter_names, problem.spec.parameter_ranges, strict=True)
    }
    time = torch.rand(_NUM_DRAWS, *uniform, generator=generator, dtype=torch.float64)
    fields["t"] = problem.duration * time, problem.duration
    lengths = {
        name: extent / (2 * math.pi)
        for name, extent in zip(problem.spec.axis_names, problem.spec.extent, strict=True)
    }
    return fields, parameters, lengths | {"t": problem.duration}


def _random(
    values: torch.Tensor, size: float, lengths: Mapping[str, float], generator: torch.Generator
) -> Jet:
    """A jet whose derivatives are random, of `size` over the length of each axis they are taken along."""

    def along(axis: str) -> Jet:
        smaller = size / lengths[axis]
        normal = torch.randn(values.shape, generator=generator, dtype=torch.float64)
        return _random(smaller * normal, smaller, lengths, generator)

    return Jet(values, along)
