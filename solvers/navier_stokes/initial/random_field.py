"""Initial vorticity: a Gaussian random field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from solvers.contract import Parameters
from solvers.navier_stokes.initial.initial import PERIODIC, InitialVorticity, amplitude_parameter
from solvers.navier_stokes.options import NonNegative, Positive, Range
from solvers.navier_stokes.resolution import check_waves
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import evaluate, standard_deviations


@dataclass(frozen=True)
class RandomFieldOptions:
    """The range of the expected root mean square `amplitude` (1/s), and the spectrum.

    The spectrum is flat above `correlation_length` (m) and falls by `spectral_exponent` below it, with
    `modes` along each axis.
    """

    kind: Literal["random_field"]
    amplitude: Range
    correlation_length: Positive
    spectral_exponent: NonNegative
    modes: Annotated[int, Ge(2)]


class UnitField:
    """A Gaussian random field of expected mean square 1, see `random_fields.standard_deviations`.

    Args:
        grid: the grid.
        group: the options' group, `initial` or `tracer`, which names the drawn coefficients.
        modes: the modes along each axis.
        correlation_length: in m.
        spectral_exponent: the exponent of the power law.

    Raises:
        UserError: the grid drops too much of the field's variance.
    """

    def __init__(
        self, grid: Grid, group: str, modes: int, correlation_length: float, spectral_exponent: float
    ):
        self.grid = grid
        self.deviations = standard_deviations(
            PERIODIC, grid.extent, modes, correlation_length, spectral_exponent
        )
        self._name = f"{group}_coefficients"
        check_waves(
            self.deviations**2,
            grid,
            f"{group}: its random field",
            f"a longer {group}.correlation_length ({correlation_length:g} m) or fewer {group}.modes "
            f"({modes})",
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Return the coefficients of the field (modes, modes)."""
        return {self._name: self.deviations * rng.standard_normal(self.deviations.shape)}

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the field on this rank's block."""
        return evaluate(parameters[self._name], PERIODIC, self.grid)


class RandomField(InitialVorticity):
    """A Gaussian random field of given amplitude, correlation length and power law."""

    def __init__(self, grid: Grid, options: RandomFieldOptions):
        self.parameters = amplitude_parameter(
            "expected root mean square of the initial vorticity", options.amplitude
        )
        self.strain_rate = options.amplitude[1]
        self._unit = UnitField(
            grid, "initial", options.modes, options.correlation_length, options.spectral_exponent
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Return the coefficients of the field, see `UnitField.draw_arrays`."""
        return self._unit.draw_arrays(rng)

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the vorticity, see `InitialVorticity.field`."""
        field: np.ndarray = parameters["amplitude"] * self._unit.field(parameters)
        return field
