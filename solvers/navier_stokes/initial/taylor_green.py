"""Initial vorticity: Taylor-Green vortices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters
from solvers.navier_stokes.initial.initial import InitialVorticity, amplitude_parameter
from solvers.navier_stokes.options import Count, Range
from solvers.navier_stokes.resolution import check_waves
from solvers.numerics.grid import Grid
from solvers.numerics.symmetries import keeps_field


@dataclass(frozen=True)
class TaylorGreenOptions:
    """The range of the peak `amplitude` (1/s), the number of `waves` along each axis, and their `phases`."""

    kind: Literal["taylor_green"]
    amplitude: Range
    waves: Count
    phases: Literal["random", "zero"]


class TaylorGreen(InitialVorticity):
    """The vorticity w = A sin(n 2 pi x / L_x + a) sin(n 2 pi y / L_y + b), with random or zero phases.

    Without forcing the flow decays in a constant shape.

    Raises:
        UserError: the grid does not keep n waves.
    """

    def __init__(self, grid: Grid, options: TaylorGreenOptions):
        self.grid = grid
        self.parameters = amplitude_parameter("peak of the initial vorticity", options.amplitude)
        self.strain_rate = options.amplitude[1] / 2
        self.parametric = options.phases == "zero"
        self._wave_numbers = [2 * np.pi * options.waves / length for length in grid.extent]
        variances = np.zeros((2 * options.waves + 1,) * 2)
        variances[-1, -1] = 1.0
        check_waves(
            variances,
            grid,
            "solver.initial.kind=taylor_green",
            f"fewer solver.initial.waves ({options.waves})",
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the phases a and b (2,) in rad; phases of zero need no arrays."""
        return {} if self.parametric else {"initial_phases": rng.uniform(0, 2 * np.pi, 2)}

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the vorticity, see `InitialVorticity.field`."""
        x, y = (
            np.sin(wave_number * self.grid.coordinates(axis) + phase)
            for axis, (wave_number, phase) in enumerate(
                zip(self._wave_numbers, parameters.get("initial_phases", (0.0, 0.0)), strict=True)
            )
        )
        field: np.ndarray = parameters["amplitude"] * np.outer(x, y)
        return field

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the vortices are invariant; random phases allow every map.

        See `InitialVorticity.is_invariant`.
        """

        def vorticity(coordinates: Mapping[str, np.ndarray]) -> Any:
            return self.values_at(coordinates, {"amplitude": 1.0}, np)["vorticity"]

        return not self.parametric or keeps_field(cell_map, self.grid, vorticity, is_pseudo=True)

    def values_at(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """Return vorticity and velocity for phases of zero at any points, see `Solver.initial_condition`.

        The velocity is (psi_y, -psi_x) of the stream function psi = w / (k_x^2 + k_y^2).
        """
        kx, ky = self._wave_numbers
        x, y, amplitude = kx * coordinates["x"], ky * coordinates["y"], parameters["amplitude"]
        stream_amplitude = amplitude / (kx * kx + ky * ky)
        return {
            "vorticity": amplitude * (xp.sin(x) * xp.sin(y)),
            "velocity_x": ky * stream_amplitude * xp.sin(x) * xp.cos(y),
            "velocity_y": -kx * stream_amplitude * xp.cos(x) * xp.sin(y),
        }
