"""The form of a solution that meets its initial and boundary conditions whatever a network says.

Shape letters: M points, D their coordinates (place, time, scalar parameters), F features, C channels; N
stands for the bodies of particles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from surrogates.arguments import nonzero_std
from surrogates.contract import Problem
from surrogates.networks.taylor_mlp import Perceptron
from surrogates.networks.taylor_mode import Jet, Orders, coordinate, cos, sin, stack


class Change(nn.Module):
    """What is added to the initial state: σ t/(t + τ) b(x) N(x, t, p), at any point.

    N is a perceptron of `features`, σ the standard deviation of each channel, τ the time in which the fastest
    one changes by as much, at most the duration; t/(t + τ) vanishes at the start, and b, see `distance`, at
    dirichlet walls. With t alone N would be the mean rate since the start, which falls as 1/t once a motion
    turns back.

    Attributes:
        columns: the names of the coordinates of a point: the axes of a grid, `t`, and the scalar parameters.
    """

    scale: torch.Tensor

    def __init__(self, problem: Problem, *, width: int, layers: int, waves: int):
        super().__init__()
        self.problem, self.waves = problem, waves
        bodies = problem.spec.shape if problem.spec.has_particles else ()
        self.columns = (*(() if bodies else problem.spec.axis_names), "t", *problem.spec.parameter_names)
        self._shape = (len(problem.spec.channels), *bodies)
        scale = torch.tensor(nonzero_std(problem.statistics.std), dtype=torch.get_default_dtype())
        self.register_buffer("scale", scale.view(-1, *[1] * len(bodies)), persistent=False)
        self._rise = _time_of_change(problem)
        num_features = self._told(scale.new_zeros(1, len(self.columns))).value.shape[-1]
        self.network = Perceptron(num_features, math.prod(self._shape), width=width, layers=layers)

    def forward(self, inputs_MD: torch.Tensor) -> torch.Tensor:
        """The change (M, C, *N) since time 0."""
        at = self.named(inputs_MD)
        change_MCN: torch.Tensor = self.scale * (
            self._factor(at).value[:, None] * self.network(self._told(inputs_MD).value)
        ).view(-1, *self._shape)
        return change_MCN

    def jet(self, inputs_MD: torch.Tensor, orders: Orders, weights_MP: torch.Tensor | None = None) -> Jet:
        """The change (M, C, *N) since time 0 and its derivatives; `weights_MP` as `Perceptron.jet` has it."""
        factor = self._factor(self.named(inputs_MD))
        found: Jet = self.network.jet(self._told(inputs_MD), orders, weights_MP)
        shaped = found.linear(lambda values: values.view(-1, *self._shape) * self.scale)
        return shaped * factor[(slice(None), *[None] * len(self._shape))]

    def named(self, inputs_MD: torch.Tensor) -> dict[str, Jet]:
        """The coordinates (M,) of the points by name, as jets."""
        return {
            name: coordinate(values, name)
            for name, values in zip(self.columns, inputs_MD.unbind(-1), strict=True)
        }

    def _told(self, inputs_MD: torch.Tensor) -> Jet:
        return features(self.problem, self.named(inputs_MD), self.waves)

    def _factor(self, at: Mapping[str, Jet]) -> Jet:
        factor: Jet = at["t"] / (at["t"] + self._rise) * distance(self.problem, at)
        return factor


def features(problem: Problem, at: Mapping[str, Jet], waves: int) -> Jet:
    """What a network is told of points `at` (M,): place, time and parameters, all of order 1; (M, F).

    Along a periodic axis of length L these are sin(2π m x/L) and cos(2π m x/L) for m from 1 to `waves`,
    between neumann walls cos(π m x/L), and the products of those of several axes: any function of them is
    periodic, or has no slope at the walls. Elsewhere they are the coordinate itself, from -1 to 1, and so are
    the time over the duration and each parameter over its range.
    """
    products: list[Any] = [1.0]
    told = []
    for name, boundary, lower, extent in _axes(problem):
        share = (at[name] - lower) / extent
        along: list[Jet] = []
        if boundary == "periodic":
            angles = [2 * math.pi * number * share for number in range(1, waves + 1)]
            along = [wave(angle) for angle in angles for wave in (sin, cos)]
        elif boundary == "neumann":
            along = [cos(math.pi * number * share) for number in range(1, waves + 1)]
        else:
            told.append(2 * share - 1)
        products += [product * wave for product in products for wave in along]
    told.append(2 / problem.duration * at["t"] - 1)
    for name, (low, high) in zip(problem.spec.parameter_names, problem.spec.parameter_ranges, strict=True):
        told.append((at[name] - (low + high) / 2) * (2 / (high - low) if high > low else 0.0))
    return stack([*products[1:], *told])


def distance(problem: Problem, at: Mapping[str, Jet]) -> Any:
    """Π 4 x (L - x) / L² over the dirichlet axes, (M,): it vanishes at their walls and is 1 between them; the
    number 1 where there are none.
    """
    product: Any = 1.0
    for name, boundary, lower, extent in _axes(problem):
        if boundary == "dirichlet":
            share = (at[name] - lower) / extent
            product = 4 * share * (1 - share) * product
    return product


def _time_of_change(problem: Problem) -> float:
    """In which the fastest channel changes by its standard deviation, s; at most the duration."""
    statistics = problem.statistics
    shares = [
        std / delta_std
        for std, delta_std in zip(statistics.std, statistics.delta_std, strict=True)
        if std > 0 and delta_std > 0
    ]
    return min([problem.duration, *(problem.time_step * share for share in shares)])


def _axes(problem: Problem) -> list[tuple[str, str, float, float]]:
    """Name, boundary, lower end and extent of each axis of a grid; particles have none."""
    if problem.spec.has_particles:
        return []
    return list(
        zip(
            problem.spec.axis_names,
            problem.spec.boundaries,
            problem.spec.lower,
            problem.spec.extent,
            strict=True,
        )
    )
