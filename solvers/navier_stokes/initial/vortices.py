"""Initial vorticity: Gaussian vortices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters
from solvers.navier_stokes.initial.initial import InitialVorticity, amplitude_parameter
from solvers.navier_stokes.options import Count, Range
from solvers.navier_stokes.resolution import LEAST_VORTEX, check_width
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import gaussians


@dataclass(frozen=True)
class VorticesOptions:
    """The ranges of the largest peak `amplitude` (1/s) and the `radius` (m), and the `count` of vortices.

    The peaks are between -amplitude and amplitude. The radius is the standard deviation of a Gaussian.
    """

    kind: Literal["vortices"]
    amplitude: Range
    count: Count
    radius: Range


class Vortices(InitialVorticity):
    """A sum of Gaussian vortices of both signs.

    Raises:
        UserError: the radius can be smaller than a cell.
    """

    def __init__(self, grid: Grid, options: VorticesOptions):
        self.grid = grid
        self.parameters = amplitude_parameter("largest peak of a vortex", options.amplitude)
        self._options = options
        # The mean square of peaks that are uniform between -amplitude and amplitude is amplitude^2 / 3.
        covered_fraction = options.count * np.pi * options.radius[1] ** 2 / np.prod(grid.extent)
        self.strain_rate = options.amplitude[1] * float(np.sqrt(covered_fraction / 3))
        check_width(options.radius[0], LEAST_VORTEX, grid, "initial.radius")

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw peaks relative to the amplitude (count,), centres (count, 2) in m, and radii (count,) in m."""
        count = self._options.count
        return {
            "vortex_peaks": rng.uniform(-1, 1, count),
            "vortex_centres": rng.random((count, 2)) * self.grid.extent,
            "vortex_radii": rng.uniform(*self._options.radius, count),
        }

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the vorticity, see `InitialVorticity.field`."""
        peaks = parameters["amplitude"] * parameters["vortex_peaks"]
        return gaussians(peaks, parameters["vortex_centres"], parameters["vortex_radii"], self.grid)

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return True: centres are uniform, and both signs equally probable, see `InitialVorticity`."""
        return True
