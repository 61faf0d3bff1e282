"""Gaussian heaters that are switched on and off."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from simsurrogate.spec import Field, Parameter
from solvers.contract import Parameters
from solvers.heat.options import HeaterOptions
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import bumps
from solvers.numerics.resolution import LEAST_GAUSSIAN, check_size


class Heaters:
    """f(x, t): heater i gives rate_i exp(-|x - c_i|^2 / 2 w_i^2) from start_i on, for duration_i.

    Attributes:
        parameters: the scalars that are drawn.
        fields: the pattern of each heater, as coefficient fields (K/s).
    """

    def __init__(self, grid: Grid, options: HeaterOptions):
        self.grid = grid
        self.options = options
        if options.count:
            check_size(options.width[0], LEAST_GAUSSIAN, grid, "the least of heaters.width")
        self.names = [f"heater_{number}" for number in range(1, options.count + 1)]
        self.fields = tuple(
            Field(name, "K/s", "heating where and while this heater is on") for name in self.names
        )
        self.parameters = tuple(
            parameter
            for name in self.names
            for parameter in (
                Parameter(f"{name}_rate", "K/s", "peak rate of heating", *options.rate),
                Parameter(f"{name}_start", "s", "time of switching on", *options.start),
                Parameter(f"{name}_duration", "s", "time until switching off", *options.duration),
            )
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Centres (n, d) and widths (n,), m."""
        if not self.names:
            return {}
        number = len(self.names)
        return {
            "heater_centres": rng.random((number, len(self.grid.extent))) * self.grid.extent,
            "heater_widths": rng.uniform(*self.options.width, number),
        }

    def patterns(self, parameters: Parameters) -> list[np.ndarray]:
        """The heating rate of each heater that is on, on this rank's block."""
        return [
            bumps(
                np.array([parameters[f"{name}_rate"]]),
                parameters["heater_centres"][[number]],
                parameters["heater_widths"][[number]],
                self.grid,
            )
            for number, name in enumerate(self.names)
        ]

    def constant_intervals(
        self, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, list[int]]]:
        """Cuts a span of time where a heater switches: the length (s) of each piece, and who is on."""
        spans = [self._span(name, parameters) for name in self.names]
        end, tolerance = time + duration, 1e-12 * duration
        switches = {
            moment for span in spans for moment in span if time + tolerance < moment < end - tolerance
        }
        cuts = [time, *sorted(switches), end]
        for start, stop in pairwise(cuts):
            middle = (start + stop) / 2
            length = duration if len(cuts) == 2 else stop - start
            yield length, [number for number, (on, off) in enumerate(spans) if on <= middle < off]

    def _span(self, name: str, parameters: Parameters) -> tuple[float, float]:
        start = parameters[f"{name}_start"]
        return start, start + parameters[f"{name}_duration"]
