"""Initial vorticity: the random field in the paper on the Fourier neural operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters
from solvers.navier_stokes.initial.initial import PERIODIC_AXES, InitialVorticity
from solvers.navier_stokes.options import NumModes
from solvers.navier_stokes.resolution import check_waves
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import angular_wave_numbers, evaluate
from solvers.numerics.symmetries import keeps_spectrum


@dataclass(frozen=True)
class MaternOptions:
    """The number of `modes` along each axis."""

    kind: Literal["matern"]
    modes: NumModes


class Matern(InitialVorticity):
    """The random field N(0, 7^(3/2) (-Lap + 49)^(-5/2)) of Li et al. (2021, arXiv:2010.08895, section 5.3).

    The mean is removed. The modes are orthonormal over the unit square. On any box, a mode of wave number k
    (rad/m) has the variance 7^(3/2) (k^2 + 49)^(-5/2), and the root mean square is 0.043 1/s. The published
    data have 37 times this variance, 2 (7^3) in place of 7^(3/2). `experiment=navier_stokes` draws these data
    with `random_field`.

    Raises:
        UserError: the grid drops too much of the variance of the field.
    """

    def __init__(self, grid: Grid, options: MaternOptions):
        self.grid = grid
        self.parameters = ()
        wave_numbers = [angular_wave_numbers("periodic", length, options.modes) for length in grid.extent]
        squared_wave_numbers = wave_numbers[0][:, None] ** 2 + wave_numbers[1] ** 2
        variances = np.where(squared_wave_numbers > 0, 7**1.5 * (squared_wave_numbers + 49) ** -2.5, 0.0)
        check_waves(
            variances, grid, "solver.initial.kind=matern", f"fewer solver.initial.modes ({options.modes})"
        )
        self._deviations = np.sqrt(variances)
        self.strain_rate = float(np.sqrt(np.sum(variances)))

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the coefficients of the field (modes, modes) in 1/s."""
        return {"initial_coefficients": self._deviations * rng.standard_normal(self._deviations.shape)}

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the vorticity, see `InitialVorticity.field`."""
        return evaluate(parameters["initial_coefficients"], PERIODIC_AXES, self.grid)

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the spectrum is invariant, see `InitialVorticity.is_invariant`."""
        return keeps_spectrum(cell_map, self.grid, self._deviations**2)
