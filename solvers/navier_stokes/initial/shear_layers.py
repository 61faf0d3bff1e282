"""Initial vorticity: two rippled shear layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from simsurrogate.spec import Parameter
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

    The ripple is a sum of the `waves` lowest waves along x, with random `phases` or phases of zero. The speed
    across the layers is `perturbation` times the speed along the layers.
    """

    kind: Literal["shear_layers"]
    amplitude: Range
    thickness: Range
    waves: Count
    phases: Literal["random", "zero"]
    perturbation: Positive


class ShearLayers(InitialVorticity):
    """Two layers of opposite vorticity along x, at L_y / 4 and 3 L_y / 4, with a ripple.

    The velocity (u, v) at time 0, with the amplitude A, the thickness h and the n waves of the ripple, is

        u = -A h tanh(L_y / (2 pi h) cos(2 pi y / L_y))
        v = perturbation A h sqrt(2 / n) sum_k cos(k 2 pi x / L_x + phase_k),    k = 1, ..., n

    The root mean square of v is `perturbation` * A * h. The vorticity v_x - u_y of a layer is A sech^2(d / h)
    at the small distance d from its centre. Bell, Colella & Glaz 1989 (doi:10.1016/0021-9991(89)90151-4)
    introduced such layers as a test, with a kink between them.

    Raises:
        UserError: a layer can be thinner than a cell, or the grid does not keep the waves of the ripple.
    """

    def __init__(self, grid: Grid, options: ShearLayersOptions):
        self.grid = grid
        self.parameters = (
            *amplitude_parameter("peak of the initial vorticity in a layer", options.amplitude),
            Parameter("layer_thickness", "m", "thickness of a shear layer", *options.thickness),
        )
        self.parametric = options.phases == "zero"
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
        """Draw the phases of the ripple (waves,) in rad; phases of zero need no array."""
        return {} if self.parametric else {"ripple_phases": rng.uniform(0, 2 * np.pi, self._options.waves)}

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the vorticity, see `InitialVorticity.field`."""
        x, y = (self.grid.coordinates(axis) for axis in self.grid.axes)
        field: np.ndarray = self.values_at({"x": x[:, None], "y": y}, parameters, np)["vorticity"]
        return field

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the layers are invariant, see `InitialVorticity.is_invariant`.

        Random phases of the ripple allow every map that keeps the layers.
        """
        ripple = 1.0 if self.parametric else 0.0
        parameters = {"amplitude": 1.0, "layer_thickness": self._options.thickness[0]}

        def vorticity(coordinates: Mapping[str, np.ndarray]) -> Any:
            layers = self._layers(coordinates["y"], parameters, np)
            return layers["vorticity"] + ripple * self._ripple(coordinates["x"], parameters, np)["vorticity"]

        return keeps_field(cell_map, self.grid, vorticity, is_pseudo=True)

    def values_at(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """Return vorticity and velocity at any points, see `Solver.initial_condition`."""
        layers = self._layers(coordinates["y"], parameters, xp)
        ripple = self._ripple(coordinates["x"], parameters, xp)
        return {
            "vorticity": layers["vorticity"] + ripple["vorticity"],
            "velocity_x": layers["velocity"] + 0 * ripple["velocity"],
            "velocity_y": ripple["velocity"] + 0 * layers["velocity"],
        }

    def _layers(self, y: Any, parameters: Mapping[str, Any], xp: Any) -> dict[str, Any]:
        """Return vorticity and velocity along x of both layers."""
        wave_number = 2 * np.pi / self.grid.extent[1]
        amplitude, thickness = parameters["amplitude"], parameters["layer_thickness"]
        tanh = xp.tanh(xp.cos(wave_number * y) / (wave_number * thickness))
        return {
            "vorticity": -amplitude * xp.sin(wave_number * y) * (1 - tanh * tanh),
            "velocity": -amplitude * thickness * tanh,
        }

    def _ripple(self, x: Any, parameters: Mapping[str, Any], xp: Any) -> dict[str, Any]:
        """Return vorticity and velocity along y of the ripple."""
        waves = self._options.waves
        speed = (
            self._options.perturbation
            * (2 / waves) ** 0.5
            * parameters["amplitude"]
            * parameters["layer_thickness"]
        )
        phases = parameters.get("ripple_phases", np.zeros(waves))
        wave_numbers = 2 * np.pi / self.grid.extent[0] * np.arange(1, waves + 1)
        terms = [(k, k * x + phase) for k, phase in zip(wave_numbers.tolist(), phases.tolist(), strict=True)]
        return {
            "vorticity": -speed * sum(k * xp.sin(angle) for k, angle in terms),
            "velocity": speed * sum(xp.cos(angle) for _, angle in terms),
        }
