"""The initial temperature of a trajectory: a random field, blobs, a few modes, or harmonics."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from simsurrogate.spec import DIRECTIONS, Parameter
from solvers.contract import Parameters
from solvers.heat.options import InitialOptions
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import bumps, deviations, evaluate
from solvers.numerics.resolution import LEAST_GAUSSIAN, check_modes, check_size


class Initial(ABC):
    """A family of temperatures u(x, 0) in K, about zero; the walls' own profile is added to it.

    Attributes:
        parameters: the scalars that are drawn.
        parametric: nothing else is drawn.
        meets_walls: it is 0 at dirichlet walls and has no slope at neumann walls.
    """

    parametric = False
    meets_walls = True
    parameters: tuple[Parameter, ...]

    def __init__(self, grid: Grid, options: InitialOptions, meaning: str):
        self.grid = grid
        self.options = options
        self.parameters = (Parameter("amplitude", "K", meaning, *options.amplitude),)

    @abstractmethod
    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Whatever else determines the field, by name."""

    @abstractmethod
    def field(self, parameters: Parameters) -> np.ndarray:
        """The temperature on this rank's block."""


class RandomField(Initial):
    """A Gaussian random field of given spectrum, of modes that fit the ends of each axis."""

    def __init__(self, grid: Grid, options: InitialOptions):
        super().__init__(grid, options, "expected root mean square of the initial temperature")
        self._deviations = deviations(
            grid.boundary,
            grid.extent,
            options.modes,
            options.correlation_length,
            options.spectral_exponent,
        )
        check_modes(self._deviations**2, grid.boundary, grid, f"initial.kind={options.kind}", self._remedy())

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """The coefficients of the field over its amplitude."""
        return {"initial_coefficients": self._deviations * rng.standard_normal(self._deviations.shape)}

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Initial.field`."""
        unit = evaluate(parameters["initial_coefficients"], self.grid.boundary, self.grid)
        field: np.ndarray = parameters["amplitude"] * unit
        return field

    def _remedy(self) -> str:
        """What gives the field longer waves."""
        return (
            f"a longer initial.correlation_length ({self.options.correlation_length:g} m) or fewer "
            f"initial.modes ({self.options.modes})"
        )


class FewModes(RandomField):
    """A sum of a few products of modes, drawn among the lowest of each axis with equal chance."""

    def __init__(self, grid: Grid, options: InitialOptions):
        super().__init__(grid, dataclasses.replace(options, spectral_exponent=0.0))

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """The coefficients of the field over its amplitude, most of them zero."""
        coefficients = np.zeros(self._deviations.shape)
        legal = np.flatnonzero(self._deviations)
        for _ in range(self.options.count):
            coefficients.flat[rng.choice(legal)] += rng.standard_normal()
        return {"initial_coefficients": coefficients / np.sqrt(np.sum(coefficients**2))}

    def _remedy(self) -> str:
        return f"fewer initial.modes ({self.options.modes})"


class Blobs(Initial):
    """A sum of Gaussians of either sign."""

    def __init__(self, grid: Grid, options: InitialOptions):
        super().__init__(grid, options, "largest peak of a blob")
        self.meets_walls = set(grid.boundary) == {"periodic"}
        check_size(options.width[0], LEAST_GAUSSIAN, grid, "the least of initial.width")

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Peaks over the amplitude (n,), centres (n, d) and widths (n,) in m."""
        number = self.options.count
        return {
            "blob_peaks": rng.uniform(-1, 1, number),
            "blob_centres": rng.random((number, len(self.grid.extent))) * self.grid.extent,
            "blob_widths": rng.uniform(*self.options.width, number),
        }

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Initial.field`."""
        peaks = parameters["amplitude"] * parameters["blob_peaks"]
        return bumps(peaks, parameters["blob_centres"], parameters["blob_widths"], self.grid)


class Harmonics(Initial):
    """sum over m of a_m phi_m(x / L_x) phi_m(y / L_y) ..., m from 1 to `count`, each a_m drawn by itself.

    phi_m(s) is sin(m pi s) between dirichlet walls, cos(m pi s) between neumann walls and sin(2 m pi s) along
    a periodic axis: each term meets the conditions of walls at 0, and its mean over the box is 0 unless all
    axes are dirichlet.
    """

    parametric = True

    def __init__(self, grid: Grid, options: InitialOptions):
        super().__init__(grid, options, "")
        self.parameters = tuple(
            Parameter(f"amplitude_{number}", "K", f"peak of harmonic {number}", *options.amplitude)
            for number in range(1, options.count + 1)
        )
        # The place of a harmonic among the modes of an axis, see `random_fields.half_waves`.
        places = {"periodic": 2, "dirichlet": 1, "neumann": 1}
        variances = np.zeros([2 * options.count + 1] * len(grid.extent))
        for number in range(1, options.count + 1):
            highest = tuple(places[kind] * number - (kind == "dirichlet") for kind in grid.boundary)
            variances[highest] = 1 / options.count
        check_modes(
            variances,
            grid.boundary,
            grid,
            "initial.kind=harmonics",
            f"a smaller initial.count ({options.count})",
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Nothing."""
        return {}

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Initial.field`."""
        field: np.ndarray = self.at(self.grid.mesh, parameters, np)
        return field

    def at(self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any) -> Any:
        """The temperature at any points, see `Solver.initial_condition`."""
        total: Any = 0.0
        for number in range(1, self.options.count + 1):
            term = parameters[f"amplitude_{number}"]
            for axis in self.grid.axes:
                kind, x = self.grid.boundary[axis], coordinates[DIRECTIONS[axis]]
                wave_number = (2 if kind == "periodic" else 1) * number * math.pi / self.grid.extent[axis]
                term = term * (xp.cos if kind == "neumann" else xp.sin)(wave_number * x)
            total = total + term
        return total


def wall_profile(grid: Grid, values: tuple[tuple[float, float], ...], coordinates: Mapping[str, Any]) -> Any:
    """The mean over the dirichlet axes of the linear profile between their walls, K; 0 without any."""
    dirichlet = [axis for axis in grid.axes if grid.boundary[axis] == "dirichlet"]
    profile: Any = 0.0
    for axis in dirichlet:
        lower, upper = values[axis]
        share = coordinates[DIRECTIONS[axis]] / grid.extent[axis]
        profile = profile + (lower + (upper - lower) * share) / len(dirichlet)
    return profile


def profile_meets_walls(grid: Grid, values: tuple[tuple[float, float], ...]) -> bool:
    """Whether `wall_profile` has the values of the dirichlet walls and the fluxes of the neumann walls: the
    former where there is one dirichlet axis, or one value for all; the latter where they are 0.
    """
    of_kind: dict[str, list[tuple[float, float]]] = {"dirichlet": [], "neumann": [], "periodic": []}
    for kind, ends in zip(grid.boundary, values, strict=False):
        of_kind[kind].append(ends)
    temperatures = {value for ends in of_kind["dirichlet"] for value in ends}
    agree = len(of_kind["dirichlet"]) <= 1 or len(temperatures) == 1
    return agree and not any(any(ends) for ends in of_kind["neumann"])


INITIALS: dict[str, type[RandomField | FewModes | Blobs | Harmonics]] = {
    "random_field": RandomField,
    "blobs": Blobs,
    "modes": FewModes,
    "harmonics": Harmonics,
}
