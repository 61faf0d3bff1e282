"""Distributions of the diffusivity k(x): a constant, a log-normal random field, or inclusions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from simsurrogate.spec import Field, Parameter
from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters
from solvers.heat.options import NonNegative, NumModes, Positive, Range
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import evaluate, standard_deviations, truncation_caution
from solvers.numerics.resolution import LEAST_BALL, check_modes, check_size
from solvers.numerics.symmetries import keeps_spectrum


@dataclass(frozen=True)
class ConstantOptions:
    """A constant diffusivity, drawn from `range` (m^2/s)."""

    kind: Literal["constant"]
    range: Range


@dataclass(frozen=True)
class LognormalOptions:
    """A log-normal random field; `range` (m^2/s) is the range of the geometric mean.

    `log_deviation` is the range of the standard deviation of ln k. Modes of ln k shorter than
    `correlation_length` (m) decay with the exponent `spectral_exponent`. `modes` is the number of modes along
    each axis.
    """

    kind: Literal["lognormal"]
    range: Range
    log_deviation: Range
    correlation_length: Positive
    spectral_exponent: NonNegative
    modes: NumModes


@dataclass(frozen=True)
class InclusionsOptions:
    """`num_inclusions` balls of radius `inclusion_radius` (m) in a matrix of another diffusivity.

    `range` (m^2/s) is the range of k in the matrix. `contrast` is k inside the balls divided by k in the
    matrix.
    """

    kind: Literal["inclusions"]
    range: Range
    contrast: Range
    num_inclusions: Annotated[int, Ge(1), Le(100_000)]
    inclusion_radius: Range


class Diffusivity(ABC):
    """A distribution of k(x) in m^2/s, the thermal conductivity over the volumetric heat capacity.

    Attributes:
        parameters: the drawn scalars.
        fields: k as a coefficient field; empty if the scalars determine k.
        is_constant: whether k is the same everywhere.
        smooth: whether k has no jumps.
        geometric_mean: the geometric mean of the range of k, m^2/s.
        upper_bound: an upper bound of k for scalars inside their ranges, m^2/s.
    """

    parameters: tuple[Parameter, ...]
    fields: tuple[Field, ...]
    is_constant = False
    smooth = True
    upper_bound: float

    def __init__(self, grid: Grid, low: float, high: float):
        self.grid = grid
        self.geometric_mean = math.sqrt(low * high)

    @abstractmethod
    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the arrays that determine k together with the scalars, by name."""

    @abstractmethod
    def field(self, parameters: Parameters) -> np.ndarray:
        """Return k (m^2/s) on this rank's block."""

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the distribution is equal after a map between the cells."""
        return True

    def cautions(self) -> list[str]:
        """Return sentences on options that may not mean what a user expects, see `Solver.cautions`."""
        return []


class Constant(Diffusivity):
    """The distribution of constant diffusivities."""

    fields = ()
    is_constant = True

    def __init__(self, grid: Grid, options: ConstantOptions):
        super().__init__(grid, *options.range)
        self.parameters = (Parameter("diffusivity", "m^2/s", "diffusivity k everywhere", *options.range),)
        self.upper_bound = options.range[1]

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw no arrays, because the scalar determines k."""
        return {}

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return k (m^2/s), see `Diffusivity.field`."""
        return np.full(self.grid.block_shape, parameters["diffusivity"])


class Lognormal(Diffusivity):
    """The distribution of log-normal diffusivities: ln k is a smooth Gaussian random field.

    The mean and the standard deviation of ln k are drawn. The mean of ln k over the box is exactly the
    logarithm of `mean_diffusivity`. `upper_bound` assumes at most four standard deviations, and rare draws
    exceed this bound.
    """

    def __init__(self, grid: Grid, options: LognormalOptions):
        super().__init__(grid, *options.range)
        self._options = options
        self.parameters = (
            Parameter("mean_diffusivity", "m^2/s", "geometric mean of k over the box", *options.range),
            Parameter("log_deviation", "1", "standard deviation of ln k", *options.log_deviation),
        )
        largest_factor = math.exp(4 * options.log_deviation[1])
        self.upper_bound = options.range[1] * largest_factor
        self.fields = _field_between(options.range[0] / largest_factor, self.upper_bound)
        self._kinds = ["periodic" if kind == "periodic" else "neumann" for kind in grid.boundary]
        self._deviations = standard_deviations(
            self._kinds, grid.extent, options.modes, options.correlation_length, options.spectral_exponent
        )
        remedy = (
            f"a longer solver.diffusivity.correlation_length ({options.correlation_length:g} m) or fewer "
            f"solver.diffusivity.modes ({options.modes})"
        )
        check_modes(self._deviations**2, self._kinds, grid, "solver.diffusivity.kind=lognormal", remedy)

    def cautions(self) -> list[str]:
        """Return a sentence on a truncated spectrum, see `Diffusivity.cautions`."""
        return truncation_caution(
            self._kinds,
            self.grid.extent,
            self._options.modes,
            self._options.correlation_length,
            self._options.spectral_exponent,
            group="diffusivity",
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the coefficients of the normalised field (ln k - mean) / deviation."""
        return {"diffusivity_coefficients": self._deviations * rng.standard_normal(self._deviations.shape)}

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the spectrum of ln k is invariant, see `Diffusivity.is_invariant`."""
        return keeps_spectrum(cell_map, self.grid, self._deviations**2)

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return k (m^2/s), see `Diffusivity.field`."""
        unit_field = evaluate(parameters["diffusivity_coefficients"], self._kinds, self.grid)
        field: np.ndarray = parameters["mean_diffusivity"] * np.exp(parameters["log_deviation"] * unit_field)
        return field


class Inclusions(Diffusivity):
    """The distribution of balls in a matrix of another diffusivity.

    A cell belongs to a ball if the centre of the cell is inside the ball.
    """

    smooth = False

    def __init__(self, grid: Grid, options: InclusionsOptions):
        super().__init__(grid, *options.range)
        self._options = options
        self.parameters = (
            Parameter("matrix_diffusivity", "m^2/s", "k around the inclusions", *options.range),
            Parameter("contrast", "1", "k inside the inclusions over k around them", *options.contrast),
        )
        self.upper_bound = options.range[1] * max(1.0, options.contrast[1])
        self.fields = _field_between(options.range[0] * min(1.0, options.contrast[0]), self.upper_bound)
        smallest_radius = options.inclusion_radius[0]
        check_size(smallest_radius, LEAST_BALL, grid, "lower end of solver.diffusivity.inclusion_radius")

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the centres (n, d) and radii (n,) of the balls, m."""
        count, extent = self._options.num_inclusions, self.grid.extent
        return {
            "inclusion_centres": rng.random((count, len(extent))) * extent,
            "inclusion_radii": rng.uniform(*self._options.inclusion_radius, count),
        }

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return k (m^2/s), see `Diffusivity.field`."""
        is_inside = np.zeros(self.grid.block_shape, dtype=bool)
        for centre, radius in zip(
            parameters["inclusion_centres"], parameters["inclusion_radii"], strict=True
        ):
            is_inside |= self._squared_distance(centre) < radius**2
        k = parameters["matrix_diffusivity"]
        field: np.ndarray = np.where(is_inside, k * parameters["contrast"], k)
        return field

    def _squared_distance(self, centre: np.ndarray) -> np.ndarray:
        """Return the squared distance (m^2) from each cell to the nearest periodic image of `centre`."""
        squared_distance: np.ndarray = np.zeros(self.grid.block_shape)
        for axis in self.grid.axes:
            distance = np.abs(self.grid.coordinates(axis) - centre[axis])
            if self.grid.boundary[axis] == "periodic":
                distance = np.minimum(distance, self.grid.extent[axis] - distance)
            squared_distance += self.grid.broadcast_along(axis, distance**2)
        return squared_distance


def _field_between(low: float, high: float) -> tuple[Field]:
    """Return the description of a diffusivity with values of about `low` to `high` (m^2/s)."""
    meaning = "thermal conductivity over volumetric heat capacity"
    return (Field("diffusivity", "m^2/s", meaning, conductivity_range=(low, high)),)
