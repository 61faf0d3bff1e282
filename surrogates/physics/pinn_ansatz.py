"""The form of a solution that satisfies its initial and boundary conditions for any network.

Shape letters: M points, D their coordinates (position, time, scalar parameters), F features, C channels; N
stands for the bodies of particles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from surrogates.arguments import check_maximum, nonzero_std
from surrogates.contract import Problem
from surrogates.networks.taylor_mlp import Perceptron
from surrogates.networks.taylor_mode import Jet, Orders, coordinate, cos, sin, stack

#: The largest number of products of waves of all axes, each an input of the network.
_MAX_FEATURES = 2**12


class PinnAnsatz(nn.Module):
    """The change since the initial state at any point, σ t/(t + τ) b(x) N(x, t, p).

    N is a perceptron of the `features`, and σ the standard deviation of each channel. The time scale τ is the
    time in which the fastest channel changes by its standard deviation, at most the duration. The factor
    t/(t + τ) vanishes at the start, and the factor b (see `wall_factor`) at dirichlet walls. With a factor t,
    N would be the mean rate since the start, which decays as 1/t in a periodic motion.

    Attributes:
        columns: the names of the coordinates of a point: the axes of a grid, `t`, and the scalar parameters.
        scale: σ.
    """

    scale: torch.Tensor

    def __init__(self, problem: Problem, *, width: int, layers: int, waves: int):
        super().__init__()
        self.problem, self.waves = problem, waves
        num_axes = 0 if problem.spec.has_particles else len(problem.spec.axes)
        num_products = (2 * waves + 1) ** num_axes
        check_maximum(_MAX_FEATURES, num_products, "products of waves", f"surrogate.waves={waves}")
        bodies = problem.spec.shape if problem.spec.has_particles else ()
        self.columns = (*(() if bodies else problem.spec.axis_names), "t", *problem.spec.parameter_names)
        self._output_shape = (len(problem.spec.channels), *bodies)
        scale = torch.tensor(nonzero_std(problem.statistics.std), dtype=torch.get_default_dtype())
        self.register_buffer("scale", scale.view(-1, *[1] * len(bodies)), persistent=False)
        self._time_scale = _time_scale(problem)
        num_features = self._features(scale.new_zeros(1, len(self.columns))).value.shape[-1]
        self.network = Perceptron(num_features, math.prod(self._output_shape), width=width, layers=layers)

    def forward(self, inputs_MD: torch.Tensor) -> torch.Tensor:
        """Return the change (M, C, *N) since time 0, in physical units."""
        coordinates = self.coordinates_by_name(inputs_MD)
        change_MCN: torch.Tensor = self.scale * (
            self._factor(coordinates).value[:, None] * self.network(self._features(inputs_MD).value)
        ).view(-1, *self._output_shape)
        return change_MCN

    def jet(self, inputs_MD: torch.Tensor, orders: Orders, weights_MP: torch.Tensor | None = None) -> Jet:
        """Return the change (M, C, *N) since time 0 with its derivatives.

        See `Perceptron.jet` for `orders` and `weights_MP`.
        """
        factor = self._factor(self.coordinates_by_name(inputs_MD))
        network_jet: Jet = self.network.jet(self._features(inputs_MD), orders, weights_MP)
        scaled_jet = network_jet.linear(lambda values: values.view(-1, *self._output_shape) * self.scale)
        return scaled_jet * factor[(slice(None), *[None] * len(self._output_shape))]

    def coordinates_by_name(self, inputs_MD: torch.Tensor) -> dict[str, Jet]:
        """Return the coordinates (M,) of the points by name, as jets."""
        return {
            name: coordinate(values, name)
            for name, values in zip(self.columns, inputs_MD.unbind(-1), strict=True)
        }

    def _features(self, inputs_MD: torch.Tensor) -> Jet:
        return features(self.problem, self.coordinates_by_name(inputs_MD), self.waves)

    def _factor(self, coordinates: Mapping[str, Jet]) -> Jet:
        time = coordinates["t"]
        factor: Jet = time / (time + self._time_scale) * wall_factor(self.problem, coordinates)
        return factor


def features(problem: Problem, coordinates: Mapping[str, Jet], waves: int) -> Jet:
    """Return the inputs (M, F) of the network: functions of position, time and parameters of order 1.

    The features along a periodic axis of length L are sin(2π m x/L) and cos(2π m x/L) for m from 1 to
    `waves`. The features between neumann walls are cos(π m x/L). Features of different axes are multiplied.
    Any function of these features is periodic, or has a vanishing normal derivative at the walls. Along a
    dirichlet axis the feature is the coordinate, scaled to -1 to 1; time and parameters are scaled likewise.
    """
    products: list[Any] = [1.0]
    scaled_coordinates = []
    for axis in problem.spec.axes if not problem.spec.has_particles else ():
        fraction = (coordinates[axis.name] - axis.lower) / axis.extent
        axis_waves: list[Jet] = []
        if axis.boundary == "periodic":
            angles = [2 * math.pi * mode * fraction for mode in range(1, waves + 1)]
            axis_waves = [wave(angle) for angle in angles for wave in (sin, cos)]
        elif axis.boundary == "neumann":
            axis_waves = [cos(math.pi * mode * fraction) for mode in range(1, waves + 1)]
        else:
            scaled_coordinates.append(2 * fraction - 1)
        products += [product * wave for product in products for wave in axis_waves]
    scaled_coordinates.append(2 / problem.duration * coordinates["t"] - 1)
    for name, (low, high) in zip(problem.spec.parameter_names, problem.spec.parameter_ranges, strict=True):
        scaled_coordinates.append(
            (coordinates[name] - (low + high) / 2) * (2 / (high - low) if high > low else 0.0)
        )
    return stack([*products[1:], *scaled_coordinates])


def wall_factor(problem: Problem, coordinates: Mapping[str, Jet]) -> Any:
    """Return Π 4 x (L - x) / L² over the dirichlet axes, (M,), or the number 1 where there are none.

    The factor is 0 at dirichlet walls and 1 in the middle between them.
    """
    product: Any = 1.0
    for axis in problem.spec.axes if not problem.spec.has_particles else ():
        if axis.boundary == "dirichlet":
            fraction = (coordinates[axis.name] - axis.lower) / axis.extent
            product = 4 * fraction * (1 - fraction) * product
    return product


def _time_scale(problem: Problem) -> float:
    """Return the time (s) in which the fastest channel changes by its standard deviation.

    The time is at most the duration.
    """
    statistics = problem.statistics
    num_steps = [
        std / delta_std
        for std, delta_std in zip(statistics.std, statistics.delta_std, strict=True)
        if std > 0 and delta_std > 0
    ]
    return min([problem.duration, *(problem.time_step * steps for steps in num_steps)])
