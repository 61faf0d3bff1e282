"""Initial vorticity: two rippled shear layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters
from solvers.navier_stokes.initial.initial import InitialVorticity, amplitude_parameter
from solvers.navier_stokes.options import Count, Positive, Range
from solvers.navier_stokes.resolution import LEAST_LAYER, check_waves, check_width
from solvers.numerics.grid import Grid
from solvers.numerics.symmetries import keeps_field


@dataclass(frozen=True)
class ShearLayersOptions:
    """The ranges of the peak `amplitude` (1/s) and the `thickness` (m) of the layers, and the ripple.

    The ripple is a sum of the `waves` lowest waves along x. The speed across the layers is `perturbation`
    times the speed along the layers.
    """

    kind: Literal["shear_layers"]
    amplitude: Range
    thickness: Range
    waves: Count
    perturbation: Positive


class ShearLayers(InitialVorticity):
    """Two layers of opposite vorticity along x, at L_y / 4 and 3 L_y / 4, with a ripple.

    Each layer is A sech^2(d / thickness) with the chord distance d of `random_fields.gaussians`. The speed
    along the layers is about A * thickness. The speed across the layers is a sum of waves along x with random
    phases. The root mean square of this speed is `perturbation` * A * thickness.

    Raises:
        UserError: a layer can be thinner than a cell, or the grid does not keep the waves of the ripple.
    """

    def __init__(self, grid: Grid, options: ShearLayersOptions):
        self.grid = grid
        self.parameters = amplitude_parameter("peak of the initial vorticity in a layer", options.amplitude)
        self._options = options
        thickness = options.thickness[1]
        # The mean of sech^4 over two layers is 2 (4 / 3) thickness / L_y.
        self.strain_rate = options.amplitude[1] * min(8 / 3 * thickness / grid.extent[1], 1.0) ** 0.5
        check_width(options.thickness[0], LEAST_LAYER, grid, "initial.thickness")
        variances = np.zeros((2 * options.waves + 1, 1))
        variances[-1, 0] = 1.0
        check_waves(
            variances,
            grid,
            "solver.initial.kind=shear_layers",
            f"fewer solver.initial.waves ({options.waves})",
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the thickness (1,) in m and the phases of the ripple (waves,) in rad."""
        return {
            "layer_thickness": rng.uniform(*self._options.thickness, 1),
            "ripple_phases": rng.uniform(0, 2 * np.pi, self._options.waves),
        }

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the vorticity, see `InitialVorticity.field`."""
        (thickness,), phases = parameters["layer_thickness"], parameters["ripple_phases"]
        length_x, amplitude = self.grid.extent[0], parameters["amplitude"]
        wave_numbers = 2 * np.pi / length_x * np.arange(1, len(phases) + 1)
        speed = self._options.perturbation * amplitude * thickness * np.sqrt(2 / len(phases))
        ripple = -speed * (
            wave_numbers @ np.sin(wave_numbers[:, None] * self.grid.coordinates(0) + phases[:, None])
        )
        layers = self._layers(self.grid.coordinates(1), thickness)
        field: np.ndarray = amplitude * layers + ripple[:, None]
        return field

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the layers are invariant, see `InitialVorticity.is_invariant`.

        The random phases of the ripple allow every map that keeps the layers.
        """
        thickness = self._options.thickness[0]
        return keeps_field(cell_map, self.grid, lambda x: self._layers(x["y"], thickness), is_pseudo=True)

    def _layers(self, y: np.ndarray, thickness: float) -> np.ndarray:
        """Return the vorticity of both layers for the amplitude 1."""
        length = self.grid.extent[1]
        lower_layer, upper_layer = (
            np.cosh(length / np.pi * np.sin(np.pi / length * (y - height * length)) / thickness) ** -2
            for height in (0.25, 0.75)
        )
        layers: np.ndarray = upper_layer - lower_layer
        return layers
