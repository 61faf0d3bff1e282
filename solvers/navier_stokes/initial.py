"""The initial vorticity of a trajectory: random fields, Taylor-Green, shear layers, vortices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from simsurrogate.spec import Parameter
from solvers.contract import Parameters
from solvers.navier_stokes.options import InitialOptions
from solvers.navier_stokes.resolution import LEAST_LAYER, LEAST_VORTEX, check_waves, check_width
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import angular_wave_numbers, evaluate, gaussians, standard_deviations

_PERIODIC = ("periodic", "periodic")


class Initial(ABC):
    """A family of vorticities w(x, 0) in 1/s; their mean over the box does not count.

    Attributes:
        parameters: the scalars that are drawn.
        parametric: nothing else is drawn.
        largest: the greatest root mean square that is expected, 1/s.
    """

    parametric = False
    parameters: tuple[Parameter, ...]
    largest: float

    @abstractmethod
    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Whatever else determines the field, by name."""

    @abstractmethod
    def field(self, parameters: Parameters) -> np.ndarray:
        """The vorticity on this rank's block."""


class UnitField:
    """A Gaussian random field of expected mean square 1, see `random_fields.standard_deviations`."""

    def __init__(
        self, grid: Grid, group: str, modes: int, correlation_length: float, spectral_exponent: float
    ):
        self.grid = grid
        self.deviations = standard_deviations(
            _PERIODIC, grid.extent, modes, correlation_length, spectral_exponent
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
        """The coefficients of the field."""
        return {self._name: self.deviations * rng.standard_normal(self.deviations.shape)}

    def field(self, parameters: Parameters) -> np.ndarray:
        """The field on this rank's block."""
        return evaluate(parameters[self._name], _PERIODIC, self.grid)


class RandomField(Initial):
    """A Gaussian random field of given amplitude, correlation length and power law."""

    def __init__(self, grid: Grid, options: InitialOptions):
        self.parameters = (_amplitude("expected root mean square of the initial vorticity", options),)
        self.largest = options.amplitude[1]
        self._unit = UnitField(
            grid, "initial", options.modes, options.correlation_length, options.spectral_exponent
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """See `UnitField.draw_arrays`."""
        return self._unit.draw_arrays(rng)

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Initial.field`."""
        field: np.ndarray = parameters["amplitude"] * self._unit.field(parameters)
        return field


class Matern(Initial):
    """N(0, 7^(3/2) (-Lap + 49)^(-5/2)) without its mean, of Li et al. (2021, arXiv:2010.08895, section 5.3).

    The modes are orthonormal over the unit square; on another box the field has the same variance in the
    same modes per wave number, 7^(3/2) (k^2 + 49)^(-5/2) with k in rad/m.
    """

    def __init__(self, grid: Grid, options: InitialOptions):
        self.grid = grid
        self.parameters = ()
        axes = [angular_wave_numbers("periodic", length, options.modes) for length in grid.extent]
        squared = axes[0][:, None] ** 2 + axes[1] ** 2
        variances = np.where(squared > 0, 7**1.5 * (squared + 49) ** -2.5, 0.0)
        check_waves(variances, grid, "initial.kind=matern", f"fewer initial.modes ({options.modes})")
        self._deviations = np.sqrt(variances)
        self.largest = float(np.sqrt(np.sum(variances)))

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """The coefficients of the field."""
        return {"initial_coefficients": self._deviations * rng.standard_normal(self._deviations.shape)}

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Initial.field`."""
        return evaluate(parameters["initial_coefficients"], _PERIODIC, self.grid)


class TaylorGreen(Initial):
    """A sin(n 2 pi x / L_x + a) sin(n 2 pi y / L_y + b), phases random or zero: it decays and keeps its
    form.
    """

    def __init__(self, grid: Grid, options: InitialOptions):
        self.grid = grid
        self.parameters = (_amplitude("peak of the initial vorticity", options),)
        self.largest = options.amplitude[1] / 2
        self.parametric = options.phases == "zero"
        self._wave_numbers = [2 * np.pi * options.waves / length for length in grid.extent]
        variances = np.zeros((2 * options.waves + 1,) * 2)
        variances[-1, -1] = 1.0
        check_waves(variances, grid, "initial.kind=taylor_green", f"fewer initial.waves ({options.waves})")

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """The phases a and b, rad, unless they are zero."""
        return {} if self.parametric else {"initial_phases": rng.uniform(0, 2 * np.pi, 2)}

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Initial.field`."""
        x, y = (
            np.sin(wave_number * self.grid.coordinates(axis) + phase)
            for axis, (wave_number, phase) in enumerate(
                zip(self._wave_numbers, parameters.get("initial_phases", (0.0, 0.0)), strict=True)
            )
        )
        field: np.ndarray = parameters["amplitude"] * np.outer(x, y)
        return field

    def at(self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any) -> dict[str, Any]:
        """Vorticity and velocity of phases zero at any points, see `Solver.initial_condition`.

        The velocity is (psi_y, -psi_x) of the stream function psi = w / (k_x^2 + k_y^2).
        """
        k, m = self._wave_numbers
        x, y, amplitude = k * coordinates["x"], m * coordinates["y"], parameters["amplitude"]
        stream = amplitude / (k * k + m * m)
        return {
            "vorticity": amplitude * (xp.sin(x) * xp.sin(y)),
            "velocity_x": m * stream * xp.sin(x) * xp.cos(y),
            "velocity_y": -k * stream * xp.cos(x) * xp.sin(y),
        }


class ShearLayers(Initial):
    """Two layers of opposite vorticity along x, at L_y / 4 and 3 L_y / 4, with a ripple.

    Each is A sech^2(d / thickness), d the distance of the chord as in `random_fields.gaussians`. The speed
    across the layers is a sum of waves along x of random phases, with the root mean square `perturbation` *
    A * thickness, that of the speed along them being about A * thickness.
    """

    def __init__(self, grid: Grid, options: InitialOptions):
        self.grid = grid
        self.parameters = (_amplitude("peak of the initial vorticity in a layer", options),)
        self._options = options
        thickness = options.thickness[1]
        # The mean of sech^4 over two layers, 2 (4 / 3) thickness / L_y.
        self.largest = options.amplitude[1] * min(8 / 3 * thickness / grid.extent[1], 1.0) ** 0.5
        check_width(options.thickness[0], LEAST_LAYER, grid, "the least of initial.thickness")
        variances = np.zeros((2 * options.waves + 1, 1))
        variances[-1, 0] = 1.0
        check_waves(variances, grid, "initial.kind=shear_layers", f"fewer initial.waves ({options.waves})")

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """The thickness (1,) in m and the phases of the ripple (waves,) in rad."""
        return {
            "layer_thickness": rng.uniform(*self._options.thickness, 1),
            "ripple_phases": rng.uniform(0, 2 * np.pi, self._options.waves),
        }

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Initial.field`."""
        (thickness,), phases = parameters["layer_thickness"], parameters["ripple_phases"]
        (length_x, length_y), amplitude = self.grid.extent, parameters["amplitude"]
        y = self.grid.coordinates(1)
        lower, upper = (
            np.cosh(length_y / np.pi * np.sin(np.pi / length_y * (y - place * length_y)) / thickness) ** -2
            for place in (0.25, 0.75)
        )
        wave_numbers = 2 * np.pi / length_x * np.arange(1, len(phases) + 1)
        speed = self._options.perturbation * amplitude * thickness * np.sqrt(2 / len(phases))
        ripple = -speed * (
            wave_numbers @ np.sin(wave_numbers[:, None] * self.grid.coordinates(0) + phases[:, None])
        )
        field: np.ndarray = amplitude * (upper - lower) + ripple[:, None]
        return field


class Vortices(Initial):
    """A sum of Gaussian vortices of either sense."""

    def __init__(self, grid: Grid, options: InitialOptions):
        self.grid = grid
        self.parameters = (_amplitude("largest peak of a vortex", options),)
        self._options = options
        # Peaks are uniform between - and + amplitude, a third of its square in the mean.
        covered = options.count * np.pi * options.radius[1] ** 2 / np.prod(grid.extent)
        self.largest = options.amplitude[1] * float(np.sqrt(covered / 3))
        check_width(options.radius[0], LEAST_VORTEX, grid, "the least of initial.radius")

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Peaks over the amplitude (n,), centres (n, 2) and radii (n,) in m."""
        count = self._options.count
        return {
            "vortex_peaks": rng.uniform(-1, 1, count),
            "vortex_centres": rng.random((count, 2)) * self.grid.extent,
            "vortex_radii": rng.uniform(*self._options.radius, count),
        }

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Initial.field`."""
        peaks = parameters["amplitude"] * parameters["vortex_peaks"]
        return gaussians(peaks, parameters["vortex_centres"], parameters["vortex_radii"], self.grid)


def _amplitude(meaning: str, options: InitialOptions) -> Parameter:
    return Parameter("amplitude", "s^-1", meaning, *options.amplitude)


INITIALS: dict[str, type[RandomField | Matern | TaylorGreen | ShearLayers | Vortices]] = {
    "random_field": RandomField,
    "matern": Matern,
    "taylor_green": TaylorGreen,
    "shear_layers": ShearLayers,
    "vortices": Vortices,
}
