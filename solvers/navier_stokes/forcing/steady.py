"""Forcing of the vorticity by steady waves."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import Field, Parameter
from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters
from solvers.navier_stokes.forcing.forcing import Forcing
from solvers.navier_stokes.options import Count, Range
from solvers.navier_stokes.resolution import cells_for_wave_number
from solvers.numerics.dealiased_fourier import largest_kept_wave_number
from solvers.numerics.grid import Grid
from solvers.numerics.symmetries import keeps_field


class SteadyForcing(Forcing):
    """A forcing wave that is constant in time.

    The strain rate of the flow is about the square root of the root mean square of f.

    Attributes:
        mean_square: the mean square of the wave with amplitude 1.
    """

    mean_square: float

    def __init__(self, grid: Grid, amplitude: Range):
        self.grid = grid
        self.parameters = (Parameter("forcing_amplitude", "s^-2", "amplitude of the forcing", *amplitude),)
        self.fields = (Field("forcing", "s^-2", "forcing of the vorticity, steady", pseudo=True),)
        self.strain_rate = float(np.sqrt(self.mean_square**0.5 * amplitude[1]))

    @abstractmethod
    def wave(self, coordinates: Mapping[str, Any], xp: Any) -> Any:
        """Return the wave with amplitude 1 at any points, see `Solver.initial_condition`."""

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the forcing on this rank's block, s^-2."""
        wave = np.broadcast_to(self.wave(self.grid.mesh, np), self.grid.block_shape)
        field: np.ndarray = parameters["forcing_amplitude"] * wave
        return field

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the wave is invariant, see `Forcing.is_invariant`."""
        return keeps_field(cell_map, self.grid, lambda x: self.wave(x, np), is_pseudo=True)

    def constant_intervals(
        self, steady_coefficients: np.ndarray, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Yield a single interval of steady forcing, see `Forcing.constant_intervals`."""
        yield duration, steady_coefficients


@dataclass(frozen=True)
class KolmogorovOptions:
    """The range of A (s^-2) and the number n of waves along y in A sin(n 2 pi y / L_y)."""

    kind: Literal["kolmogorov"]
    amplitude: Range
    wave_number: Count


class KolmogorovForcing(SteadyForcing):
    """The Kolmogorov forcing f = A sin(n 2 pi y / L_y).

    Raises:
        UserError: the grid does not keep n waves along y.
    """

    mean_square = 0.5

    def __init__(self, grid: Grid, options: KolmogorovOptions):
        super().__init__(grid, options.amplitude)
        wave_number, largest_wave_number = options.wave_number, largest_kept_wave_number(grid.resolution[1])
        if wave_number > largest_wave_number:
            raise UserError(
                f"solver.forcing.wave_number={wave_number} exceeds the largest wave number "
                f"{largest_wave_number} of solver.resolution={list(grid.resolution)} along y. The grid must "
                f"keep the wave of the forcing. Type solver.forcing.wave_number={largest_wave_number} or "
                f"less, or a solver.resolution of at least {cells_for_wave_number(wave_number)} cells along y"
            )
        self._wave_number = 2 * np.pi * wave_number / grid.extent[1]

    def wave(self, coordinates: Mapping[str, Any], xp: Any) -> Any:
        """Return sin(n 2 pi y / L_y), see `SteadyForcing.wave`."""
        return xp.sin(self._wave_number * coordinates["y"])


@dataclass(frozen=True)
class DiagonalOptions:
    """The range of A (s^-2) in A (sin + cos)(2 pi (x / L_x + y / L_y))."""

    kind: Literal["diagonal"]
    amplitude: Range


class DiagonalForcing(SteadyForcing):
    """The diagonal forcing f = A (sin p + cos p) with the phase p = 2 pi (x / L_x + y / L_y).

    Li et al. (2021, arXiv:2010.08895) use A = 0.1 s^-2.
    """

    mean_square = 1.0

    def __init__(self, grid: Grid, options: DiagonalOptions):
        super().__init__(grid, options.amplitude)

    def wave(self, coordinates: Mapping[str, Any], xp: Any) -> Any:
        """Return sin p + cos p, see `SteadyForcing.wave`."""
        phase = sum(2 * np.pi / self.grid.extent[axis] * coordinates["xy"[axis]] for axis in self.grid.axes)
        return xp.sin(phase) + xp.cos(phase)
