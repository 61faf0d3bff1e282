"""The contract of every solver: the `Spec` that describes it and the `Solver` it is.

A state is one array `(channels, *sites)`; sites are grid cells or particles, and a rank holds its
block of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mpi4py import MPI

#: All that determines one trajectory, its initial condition included: numbers and arrays by name.
Parameters = dict[str, Any]


class DivergedError(ArithmeticError):
    """The trajectory cannot be computed: NaN, blow-up, or an error bound that was passed.

    Raised on every rank of the solver's communicator or on none.
    """


@dataclass(frozen=True)
class Quantity:
    """A number with a name (snake_case), a unit (SI, `1` for none) and a sentence on it."""

    name: str
    unit: str
    description: str


@dataclass(frozen=True)
class Field(Quantity):
    """A quantity at every site. `order` is its tensor order: 0 scalar, 1 vector.

    The mean of a `conserved` field over the box never changes; a `divergence_free` one is a vector.
    """

    order: int = 0
    conserved: bool = False
    divergence_free: bool = False


@dataclass(frozen=True)
class Parameter(Quantity):
    """A scalar that is drawn for each trajectory, from `low` to `high`.

    A draw with `outside=True` lies outside this range.
    """

    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """One axis of the sites: `size` cells of equal width from `lower` to `upper`.

    `boundary` is `periodic`, `dirichlet`, `neumann` or, where nothing happens at the ends, `open`;
    `boundary_values` are those at the lower and the upper end. Particles have one open axis named
    `particle`, with cells centred on 0, 1, 2, ..., and their positions are the fields `x`, `y` and `z`.
    """

    name: str
    unit: str
    size: int
    lower: float
    upper: float
    boundary: str
    boundary_values: tuple[float, float] = (0.0, 0.0)

    @property
    def coordinates(self) -> np.ndarray:
        """The cell centres, shape (size,)."""
        width = (self.upper - self.lower) / self.size
        return self.lower + width * (np.arange(self.size) + 0.5)


@dataclass(frozen=True)
class Spec:
    """What a solver solves, in words and numbers.

    `fields` are the channels of the state in their order (a vector has one channel an axis);
    `coefficients` are fields that are constant in time and given with the trajectory;
    `parameters` are the drawn scalars; `invariants` are what `Solver.invariants` returns;
    `autonomous` says that the equation does not depend on time itself, `determined` that the drawn
    scalars alone determine a trajectory: nothing else is drawn; `compatible` that initial states meet the
    conditions at the walls, `smooth` that coefficient fields do not jump.
    """

    name: str
    equation: str
    axes: tuple[Axis, ...]
    fields: tuple[Field, ...]
    coefficients: tuple[Field, ...]
    parameters: tuple[Parameter, ...]
    invariants: tuple[Quantity, ...]
    autonomous: bool
    determined: bool
    compatible: bool = True
    smooth: bool = True


class Solver(ABC):
    """A discretised equation on a communicator. A subclass's constructor takes its options as
    keyword arguments, and `communicator`; it refuses what cannot work with a `ValueError`.

    Attributes:
        communicator: the ranks that share one trajectory.
        spec: what is solved.
        block: this rank's part of the site axes, one slice an axis.
        method: the scheme that was chosen, in words, for the run record.
        counts: what was counted since the solver was made (inner steps, say), the same on all ranks of
            the communicator, for the run record; nothing that is computed depends on it.
    """

    communicator: MPI.Intracomm
    spec: Spec
    block: tuple[slice, ...]
    method: str
    counts: dict[str, int]

    @abstractmethod
    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """Draws the parameters of one trajectory; the same on every rank for equal generators.

        The names of `spec.parameters` map to floats; whatever else fixes the trajectory (random
        coefficients of the initial state) maps to float64 arrays whose shapes never vary.
        """

    @abstractmethod
    def coefficients(self, parameters: Parameters) -> np.ndarray:
        """The coefficient fields, float64 (K, *block)."""

    @abstractmethod
    def initial_state(self, parameters: Parameters) -> np.ndarray:
        """The state at time 0, float64 (C, *block)."""

    @abstractmethod
    def advance(self, state: np.ndarray, parameters: Parameters, time: float, duration: float) -> np.ndarray:
        """The state at `time + duration` from the state at `time`; the inner steps are the solver's.

        Raises:
            DivergedError: the trajectory cannot be computed.
        """

    @abstractmethod
    def invariants(self, state: np.ndarray, parameters: Parameters) -> dict[str, float]:
        """What the physics conserves, or changes at a known rate, over the whole domain."""

    @abstractmethod
    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The continuous equation, left side minus right side, by equation name.

        `fields` maps the channels of the state (a vector has one an axis: `velocity_x`), the coefficients
        and, where the equation is not autonomous, the time `t` (s) to arrays of any kind, sites last;
        `derivative(values, axis)` differentiates along `"t"` or a spatial axis of the spec.
        """

    def fields_at_start(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], functions: Any
    ) -> dict[str, Any]:
        """The channels of the state at time 0 and the coefficient fields, by name, at any points.

        Plain arithmetic, so that the points need not be those of the grid. `coordinates` maps the axes'
        names to arrays (m); for particles it is not read, and the results have them last. `functions` is the
        module whose arrays are given, numpy or torch, and has `sin`, `cos`, `exp`, `sqrt` and `stack`; with
        torch the parameters are tensors. Coordinates, parameters and results broadcast against each other.

        Raises:
            ValueError: the spec is not `determined`.
        """
        if not self.spec.determined:
            raise ValueError(
                f"the scalar parameters of these {self.spec.name} trajectories do not determine them: their "
                "initial fields or coefficients hold random numbers, known at the sites of the data alone"
            )
        return self._fields_at_start(coordinates, parameters, functions)

    def _fields_at_start(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], functions: Any
    ) -> dict[str, Any]:
        """What `fields_at_start` gives; of a solver whose spec may be `determined`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Ensemble:
    """Whole trajectories, one a row: `states` float64 (B, T, C, *sites), `coefficients` (B, K, *sites),
    the `invariants` of each frame by name (B, T), and why a trajectory failed, or None.
    """

    states: np.ndarray
    coefficients: np.ndarray
    invariants: dict[str, np.ndarray]
    failures: list[str | None]


class EnsembleSolver(Solver):
    """A solver that also computes many small trajectories in one call, with no Python between steps."""

    @abstractmethod
    def solve(self, ensemble: Sequence[Parameters], times: np.ndarray) -> Ensemble:
        """The trajectories of `ensemble` at `times` (T,), evenly spaced from 0, on one rank.

        Bit for bit what `initial_state`, `advance` from frame to frame and `invariants` give; where
        `advance` would raise a `DivergedError`, the trajectory's row is undefined and has a reason.
        """


def solver_names() -> list[str]:
    """The names under which `solver_class` finds a solver."""
    return [name for name in _modules() if _class_in(name) is not None]


def solver_class(name: str) -> type[Solver]:
    """The solver of module `solvers/NAME.py`: `heat` gives `Heat`.

    Raises:
        ValueError: there is no such solver.
    """
    found = _class_in(name) if name in _modules() else None
    if found is None:
        raise ValueError(f"solver {name!r} is not one of {', '.join(solver_names())}")
    return found


def _modules() -> list[str]:
    package = importlib.import_module("solvers")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def _class_in(module_name: str) -> type[Solver] | None:
    """The concrete solver whose lower-case name is the module's, if the module has one."""
    module = importlib.import_module(f"solvers.{module_name}")
    for candidate in vars(module).values():
        if (
            isinstance(candidate, type)
            and issubclass(candidate, Solver)
            and f"{candidate.__module__}.".startswith(f"{module.__name__}.")
            and candidate.__name__.lower() == module_name.replace("_", "")
        ):
            return candidate
    return None
