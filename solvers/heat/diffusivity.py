"""The diffusivity k(x) of a trajectory: one number, a log-normal random field, or inclusions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from simsurrogate.spec import Field, Parameter
from solvers.contract import Parameters
from solvers.heat.options import DiffusivityOptions
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import deviations, evaluate
from solvers.numerics.resolution import LEAST_BALL, check_modes, check_size


class Diffusivity(ABC):
    """A family of diffusivities k(x) in m^2/s: thermal conductivity over volumetric heat capacity.

    Attributes:
        parameters: the scalars that are drawn.
        fields: k as a coefficient field, or nothing where it is one number.
        smooth: k does not jump.
    """

    parameters: tuple[Parameter, ...]
    fields: tuple[Field, ...] = (
        Field("diffusivity", "m^2/s", "thermal conductivity over volumetric heat capacity"),
    )
    smooth = True

    def __init__(self, grid: Grid, options: DiffusivityOptions):
        self.grid = grid
        self.options = options

    @abstractmethod
    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Whatever else determines k, by name."""

    @abstractmethod
    def field(self, parameters: Parameters) -> np.ndarray:
        """The values of k on this rank's block."""

    @abstractmethod
    def bound(self) -> float:
        """What k does not exceed while the scalars are in their ranges."""


class Constant(Diffusivity):
    """One number."""

    fields = ()

    def __init__(self, grid: Grid, options: DiffusivityOptions):
        super().__init__(grid, options)
        self.parameters = (Parameter("diffusivity", "m^2/s", "diffusivity k everywhere", *options.range),)

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Nothing."""
        return {}

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Diffusivity.field`."""
        return np.full(self.grid.block_shape, parameters["diffusivity"])

    def bound(self) -> float:
        """See `Diffusivity.bound`."""
        return self.options.range[1]


class Lognormal(Diffusivity):
    """ln k is a smooth Gaussian random field about a drawn mean, with a drawn standard deviation.

    The mean of ln k over the box is the logarithm of `mean_diffusivity` exactly.
    """

    def __init__(self, grid: Grid, options: DiffusivityOptions):
        super().__init__(grid, options)
        self.parameters = (
            Parameter("mean_diffusivity", "m^2/s", "geometric mean of k over the box", *options.range),
            Parameter("log_deviation", "1", "standard deviation of ln k", *options.log_deviation),
        )
        self._kinds = ["periodic" if kind == "periodic" else "neumann" for kind in grid.boundary]
        self._deviations = deviations(
            self._kinds,
            grid.extent,
            options.modes,
            options.correlation_length,
            options.spectral_exponent,
        )
        check_modes(
            self._deviations**2,
            self._kinds,
            grid,
            "diffusivity.kind=lognormal",
            f"a longer diffusivity.correlation_length ({options.correlation_length:g} m) or fewer "
            f"diffusivity.modes ({options.modes})",
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """The coefficients of (ln k - mean) / deviation."""
        return {"diffusivity_coefficients": self._deviations * rng.standard_normal(self._deviations.shape)}

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Diffusivity.field`."""
        shape = evaluate(parameters["diffusivity_coefficients"], self._kinds, self.grid)
        field: np.ndarray = parameters["mean_diffusivity"] * np.exp(parameters["log_deviation"] * shape)
        return field

    def bound(self) -> float:
        """Four standard deviations; rare draws exceed it."""
        return self.options.range[1] * math.exp(4 * self.options.log_deviation[1])


class Inclusions(Diffusivity):
    """Balls of another diffusivity; cells whose centre lies in a ball have it."""

    smooth = False

    def __init__(self, grid: Grid, options: DiffusivityOptions):
        super().__init__(grid, options)
        self.parameters = (
            Parameter("matrix_diffusivity", "m^2/s", "k around the inclusions", *options.range),
            Parameter("contrast", "1", "k inside the inclusions over k around them", *options.contrast),
        )
        largest = options.inclusion_radius[1]
        check_size(largest, LEAST_BALL, grid, "the largest of diffusivity.inclusion_radius")

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Centres (n, d) and radii (n,), m."""
        number = self.options.num_inclusions
        return {
            "inclusion_centres": rng.random((number, len(self.grid.extent))) * self.grid.extent,
            "inclusion_radii": rng.uniform(*self.options.inclusion_radius, number),
        }

    def field(self, parameters: Parameters) -> np.ndarray:
        """See `Diffusivity.field`."""
        inside = np.zeros(self.grid.block_shape, dtype=bool)
        for centre, radius in zip(
            parameters["inclusion_centres"], parameters["inclusion_radii"], strict=True
        ):
            inside |= self._squared_distance(centre) < radius**2
        k = parameters["matrix_diffusivity"]
        field: np.ndarray = np.where(inside, k * parameters["contrast"], k)
        return field

    def bound(self) -> float:
        """See `Diffusivity.bound`."""
        return self.options.range[1] * max(1.0, self.options.contrast[1])

    def _squared_distance(self, centre: np.ndarray) -> np.ndarray:
        """From each cell to the nearest image of `centre`, m^2."""
        squared: np.ndarray = np.zeros(self.grid.block_shape)
        for axis in self.grid.axes:
            distance = np.abs(self.grid.coordinates(axis) - centre[axis])
            if self.grid.boundary[axis] == "periodic":
                distance = np.minimum(distance, self.grid.extent[axis] - distance)
            squared += self.grid.along(axis, distance**2)
        return squared


DIFFUSIVITIES: dict[str, type[Diffusivity]] = {
    "constant": Constant,
    "lognormal": Lognormal,
    "inclusions": Inclusions,
}
