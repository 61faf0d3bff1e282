"""Initial vorticity: a Gaussian random field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters
from solvers.navier_stokes.initial.initial import PERIODIC_AXES, InitialVorticity, amplitude_parameter
from solvers.navier_stokes.options import NonNegative, NumModes, Positive, Range
from solvers.navier_stokes.resolution import check_waves
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import evaluate, standard_deviations, truncation_caution
from solvers.numerics.symmetries import keeps_spectrum


@dataclass(frozen=True)
class RandomFieldOptions:
    """The range of the expected root mean square `amplitude` (1/s), and the spectrum.

    Waves shorter than `correlation_length` (m) decay with the exponent `spectral_exponent`. `modes` is the
    number of modes along each axis.
    """

    kind: Literal["random_field"]
    amplitude: Range
    correlation_length: Positive
    spectral_exponent: NonNegative
    modes: NumModes


class UnitField:
    """A Gaussian random field of expected mean square 1, see `random_fields.standard_deviations`.

    Args:
        grid: the grid.
        group: the group of the options, `initial` or `tracer`; a prefix of the name of the coefficients.
        modes: the number of modes along each axis.
        correlation_length: the correlation length, m.
        spectral_exponent: the exponent of the decay of shorter waves.

    Raises:
        UserError: the grid drops too much of the variance of the field.
    """

    def __init__(
        self, grid: Grid, group: str, modes: int, correlation_length: float, spectral_exponent: float
    ):
        self.grid = grid
        self.deviations = standard_deviations(
            PERIODIC_AXES, grid.extent, modes, correlation_length, spectral_exponent
        )
        self._group, self._spectrum = group, (modes, correlation_length, spectral_exponent)
        self._name = f"{group}_coefficients"
        check_waves(
            self.deviations**2,
            grid,
            f"the random field of solver.{group}",
            f"a longer solver.{group}.correlation_length ({correlation_length:g} m) or fewer "
            f"solver.{group}.modes ({modes})",
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the coefficients of the field (modes, modes)."""
        return {self._name: self.deviations * rng.standard_normal(self.deviations.shape)}

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the field on this rank's block."""
        return evaluate(parameters[self._name], PERIODIC_AXES, self.grid)

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the spectrum is invariant, see `InitialVorticity.is_invariant`."""
        return keeps_spectrum(cell_map, self.grid, self.deviations**2)

    def cautions(self) -> list[str]:
        """Return a sentence on a truncated spectrum, see `Solver.cautions`."""
        return truncation_caution(PERIODIC_AXES, self.grid.extent, *self._spectrum, group=self._group)


class RandomField(InitialVorticity):
    """A Gaussian random field with a drawn amplitude."""

    def __init__(self, grid: Grid, options: RandomFieldOptions):
        self.parameters = amplitude_parameter(
            "expected root mean square of the initial vorticity", options.amplitude
        )
        self.strain_rate = options.amplitude[1]
        self._unit_field = UnitField(
            grid, "initial", options.modes, options.correlation_length, options.spectral_exponent
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the coefficients of the field, see `UnitField.draw_arrays`."""
        return self._unit_field.draw_arrays(rng)

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the vorticity, see `InitialVorticity.field`."""
        field: np.ndarray = parameters["amplitude"] * self._unit_field.field(parameters)
        return field

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the spectrum is invariant, see `InitialVorticity.is_invariant`."""
        return self._unit_field.is_invariant(cell_map)

    def cautions(self) -> list[str]:
        """Return a sentence on a truncated spectrum, see `InitialVorticity.cautions`."""
        return self._unit_field.cautions()
