"""Distributions of the initial temperature: a random field, a few modes, blobs, harmonics, or zero."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from simsurrogate.memory import require_memory
from simsurrogate.spec import DIRECTIONS, Parameter
from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters
from solvers.heat.options import (
    BlobsOptions,
    FewModesOptions,
    HarmonicsOptions,
    InitialOptions,
    RandomFieldOptions,
    ZeroOptions,
)
from solvers.numerics.grid import Grid
from solvers.numerics.random_fields import evaluate, gaussians, standard_deviations, truncation_caution
from solvers.numerics.resolution import LEAST_GAUSSIAN, check_modes, check_size
from solvers.numerics.symmetries import keeps_field, keeps_spectrum


class Initial(ABC):
    """A distribution of initial temperatures u(x, 0) in K, without the linear profile between the walls.

    Attributes:
        parameters: the drawn scalars; the field is proportional to them.
        parametric: whether the scalars alone determine the field.
        meets_walls: whether the field is 0 at dirichlet walls and has zero slope at neumann walls.
        has_both_signs: whether the field and its negative are equally probable.
    """

    parameters: tuple[Parameter, ...]
    parametric = False
    meets_walls = True
    has_both_signs = True

    @abstractmethod
    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the arrays that determine the field together with the scalars, by name."""

    @abstractmethod
    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the temperature (K) on this rank's block."""

    @abstractmethod
    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the distribution is equal after a map between the cells."""

    def cautions(self) -> list[str]:
        """Return sentences on options that may not mean what a user expects, see `Solver.cautions`."""
        return []


class RandomField(Initial):
    """A Gaussian random field with the spectrum of `random_fields.standard_deviations`."""

    def __init__(self, grid: Grid, options: RandomFieldOptions):
        self._grid = grid
        self._options = options
        description = "expected root mean square of the initial temperature"
        self.parameters = (Parameter("amplitude", "K", description, *options.amplitude),)
        self._deviations = standard_deviations(
            grid.boundary, grid.extent, options.modes, options.correlation_length, options.spectral_exponent
        )
        remedy = (
            f"a longer solver.initial.correlation_length ({options.correlation_length:g} m) or fewer "
            f"solver.initial.modes ({options.modes})"
        )
        option = "solver.initial.kind=random_field"
        check_modes(self._deviations**2, grid.boundary, grid, option, remedy)

    def cautions(self) -> list[str]:
        """Return a sentence on a truncated spectrum, see `Initial.cautions`."""
        return truncation_caution(
            self._grid.boundary,
            self._grid.extent,
            self._options.modes,
            self._options.correlation_length,
            self._options.spectral_exponent,
            group="initial",
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the coefficients of the field for the amplitude 1 K."""
        return {"initial_coefficients": self._deviations * rng.standard_normal(self._deviations.shape)}

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the spectrum is invariant, see `Initial.is_invariant`."""
        return keeps_spectrum(cell_map, self._grid, self._deviations**2)

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the temperature (K), see `Initial.field`."""
        return _sum_of_modes(self._grid, parameters)


class FewModes(Initial):
    """A sum of a few random products of modes from the lowest modes of each axis."""

    def __init__(self, grid: Grid, options: FewModesOptions):
        self._grid = grid
        self._count = options.count
        description = "expected root mean square of the initial temperature"
        self.parameters = (Parameter("amplitude", "K", description, *options.amplitude),)
        # For the exponent 0 all modes except the constant mode have the same standard deviation.
        self._deviations = standard_deviations(grid.boundary, grid.extent, options.modes, 1.0, 0.0)
        remedy = f"fewer solver.initial.modes ({options.modes})"
        check_modes(self._deviations**2, grid.boundary, grid, "solver.initial.kind=modes", remedy)

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the coefficients of the field for the amplitude 1 K; most coefficients are 0."""
        coefficients = np.zeros(self._deviations.shape)
        candidates = np.flatnonzero(self._deviations)
        for _ in range(self._count):
            coefficients.flat[rng.choice(candidates)] += rng.standard_normal()
        return {"initial_coefficients": coefficients / np.sqrt(np.sum(coefficients**2))}

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the map has no shift: a shift turns one product into a sum of several products."""
        return not any(cell_map.is_shifted(self._grid.resolution))

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the temperature (K), see `Initial.field`."""
        return _sum_of_modes(self._grid, parameters)


class Blobs(Initial):
    """A sum of positive and negative Gaussians."""

    def __init__(self, grid: Grid, options: BlobsOptions):
        self._grid = grid
        self._options = options
        self.parameters = (Parameter("amplitude", "K", "largest peak of a blob", *options.amplitude),)
        self.meets_walls = set(grid.boundary) == {"periodic"}
        check_size(options.width[0], LEAST_GAUSSIAN, grid, "lower end of solver.initial.width")

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw peaks for the amplitude 1 K (n,), centres (n, d) in m and widths (n,) in m."""
        count, extent = self._options.count, self._grid.extent
        return {
            "blob_peaks": rng.uniform(-1, 1, count),
            "blob_centres": rng.random((count, len(extent))) * extent,
            "blob_widths": rng.uniform(*self._options.width, count),
        }

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return True: the centres are uniform in the box, see `Initial.is_invariant`."""
        return True

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the temperature (K), see `Initial.field`."""
        peaks = parameters["amplitude"] * parameters["blob_peaks"]
        return gaussians(peaks, parameters["blob_centres"], parameters["blob_widths"], self._grid)


class Harmonics(Initial):
    """The sum of a_m phi_m(x / L_x) phi_m(y / L_y) ... over m from 1 to `count`, with drawn a_m.

    phi_m(s) is sin(m pi s) between dirichlet walls, cos(m pi s) between neumann walls and sin(2 m pi s) along
    a periodic axis. Each term satisfies the boundary conditions for boundary values of 0. The mean of each
    term over the box is 0, except between dirichlet walls along all axes.
    """

    parametric = True
    has_both_signs = False

    def __init__(self, grid: Grid, options: HarmonicsOptions):
        self._grid = grid
        self._orders = range(1, options.count + 1)
        self.parameters = tuple(
            Parameter(f"amplitude_{order}", "K", f"peak of harmonic {order}", *options.amplitude)
            for order in self._orders
        )
        # The index of a harmonic in the modes of an axis, see `random_fields.half_waves`, follows from the
        # order.
        strides = {"periodic": 2, "dirichlet": 1, "neumann": 1}
        require_memory(
            8 * (2 * options.count + 1) ** len(grid.extent),
            f"solver.initial.count={options.count} harmonics along {len(grid.extent)} axes",
            "a smaller solver.initial.count",
        )
        variances = np.zeros([2 * options.count + 1] * len(grid.extent))
        for order in self._orders:
            index = tuple(strides[kind] * order - (kind == "dirichlet") for kind in grid.boundary)
            variances[index] = 1 / options.count
        remedy = f"a smaller solver.initial.count ({options.count})"
        check_modes(variances, grid.boundary, grid, "solver.initial.kind=harmonics", remedy)

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw no arrays, because the scalars determine the field."""
        return {}

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether all harmonics are invariant, see `Initial.is_invariant`."""
        amplitudes = {parameter.name: 1 / order for order, parameter in enumerate(self.parameters, 1)}
        return keeps_field(cell_map, self._grid, lambda x: self.values_at(x, amplitudes, np))

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the temperature (K), see `Initial.field`."""
        field: np.ndarray = self.values_at(self._grid.mesh, parameters, np)
        return field

    def values_at(self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any) -> Any:
        """Return the temperature (K) at any points, see `Solver.initial_condition`."""
        field: Any = 0.0
        for order in self._orders:
            term = parameters[f"amplitude_{order}"]
            for axis in self._grid.axes:
                kind, x = self._grid.boundary[axis], coordinates[DIRECTIONS[axis]]
                wave_number = (2 if kind == "periodic" else 1) * order * math.pi / self._grid.extent[axis]
                term = term * (xp.cos if kind == "neumann" else xp.sin)(wave_number * x)
            field = field + term
        return field


class Zero(Initial):
    """The temperature 0 K."""

    parametric = True

    def __init__(self, grid: Grid):
        self._grid = grid
        self.parameters = ()

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw no arrays."""
        return {}

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return True, see `Initial.is_invariant`."""
        return True

    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the temperature (K), see `Initial.field`."""
        return np.zeros(self._grid.block_shape)

    def values_at(self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any) -> Any:
        """Return the temperature (K) at any points, see `Solver.initial_condition`."""
        return 0.0 * coordinates["x"]


def build_initial(grid: Grid, options: InitialOptions) -> Initial:
    """Return the distribution of initial temperatures of the chosen kind.

    Raises:
        UserError: the grid does not resolve the drawn fields.
    """
    if isinstance(options, RandomFieldOptions):
        return RandomField(grid, options)
    if isinstance(options, FewModesOptions):
        return FewModes(grid, options)
    if isinstance(options, BlobsOptions):
        return Blobs(grid, options)
    if isinstance(options, ZeroOptions):
        return Zero(grid)
    return Harmonics(grid, options)


def _sum_of_modes(grid: Grid, parameters: Parameters) -> np.ndarray:
    """Return the field (K) from the drawn coefficients and amplitude."""
    unit_field = evaluate(parameters["initial_coefficients"], grid.boundary, grid)
    field: np.ndarray = parameters["amplitude"] * unit_field
    return field
