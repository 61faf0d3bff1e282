"""Gaussian heaters, each active during one interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from simsurrogate.errors import UserError
from simsurrogate.spec import Field, Parameter
from solvers.contract import Parameters
from solvers.heat.options import NonNegative, Range
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import gaussians
from solvers.numerics.resolution import LEAST_GAUSSIAN, check_size


@dataclass(frozen=True)
class HeaterOptions:
    """Ranges of the peak `rate` (K/s), `width` (m), `start` (s) and `duration` (s) of `count` heaters.

    Without heaters the ranges have no effect and may be omitted.
    """

    count: Annotated[int, Ge(0), Le(1000)]
    rate: Range = (5.0, 20.0)
    width: Range = (0.05, 0.1)
    start: tuple[NonNegative, NonNegative] = (0.0, 0.05)
    duration: Range = (0.02, 0.1)


class Heaters:
    """The heat source f(x, t) of all heaters, active from `start` to `start + duration`.

    The pattern of heater i is rate_i exp(-|x - c_i|^2 / (2 w_i^2)), with centre c_i and width w_i.

    Attributes:
        names: the name of each heater.
        parameters: the drawn scalars.
        fields: the pattern of each heater, as coefficient fields (K/s).

    Raises:
        UserError: the grid does not resolve the narrowest heater.
    """

    def __init__(self, grid: Grid, options: HeaterOptions):
        self._grid = grid
        self._options = options
        if options.count:
            check_size(options.width[0], LEAST_GAUSSIAN, grid, "lower end of solver.heaters.width")
        self.names = [f"heater_{heater}" for heater in range(1, options.count + 1)]
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

    def check_duration(self, duration: float) -> None:
        """Check that every heater starts before the end of a trajectory of `duration` (s).

        Raises:
            UserError: some heaters start later; the message names their share.
        """
        low, high = self._options.start
        if not self.names or high < duration:
            return
        share = 1.0 if low >= duration else (high - duration) / (high - low)
        raise UserError(
            f"solver.heaters.start=[{low:g}, {high:g}] s lets {100 * share:.0f} % of the heaters start after "
            f"output.duration={duration:g} s, so these heaters have no effect. Every start must be before "
            f"the end. Type solver.heaters.start=[LOW,HIGH] with HIGH below {duration:g}, or a longer "
            "output.duration"
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the centres (n, d) and widths (n,) of the heaters, m."""
        if not self.names:
            return {}
        count, extent = len(self.names), self._grid.extent
        return {
            "heater_centres": rng.random((count, len(extent))) * extent,
            "heater_widths": rng.uniform(*self._options.width, count),
        }

    def patterns(self, parameters: Parameters) -> list[np.ndarray]:
        """Return the heating rate (K/s) of each active heater on this rank's block."""
        return [
            gaussians(
                np.array([parameters[f"{name}_rate"]]),
                parameters["heater_centres"][[index]],
                parameters["heater_widths"][[index]],
                self._grid,
            )
            for index, name in enumerate(self.names)
        ]

    def active_intervals(self, parameters: Parameters) -> list[tuple[float, float]]:
        """Return the start and the end (s) of the active interval of each heater."""
        starts = [parameters[f"{name}_start"] for name in self.names]
        durations = [parameters[f"{name}_duration"] for name in self.names]
        return [(start, start + duration) for start, duration in zip(starts, durations, strict=True)]
