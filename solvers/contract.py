"""The contract of every solver: a `Solver` draws parameters and prepares the `Trajectory` of each.

A state is one array `(channels, *sites)`; sites are the cells of a grid or particles, and a rank holds its
block of them. `simsurrogate.spec.Spec` describes the sites, fields and parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simsurrogate.discovery import Family
from simsurrogate.errors import UserError
from simsurrogate.spec import Spec

if TYPE_CHECKING:
    from mpi4py import MPI

#: Everything that determines one trajectory, its initial condition included: numbers and arrays by name.
Parameters = dict[str, Any]


class DivergedError(ArithmeticError):
    """The trajectory cannot be computed: NaN, blow-up, or an error above its bound.

    Raised on every rank of the solver's communicator or on none.
    """


class Trajectory(ABC):
    """The solution for one set of parameters; a trajectory that is not stepped gives whole solutions alone.

    All ranks of the solver's communicator call each method.

    Attributes:
        coefficient_fields: the coefficient fields, float64 (K, *block); None where the spec has none.
        counts: counts of the work so far (inner steps, say), equal on all ranks, for the run record.
    """

    coefficient_fields: np.ndarray | None = None
    counts: Mapping[str, int] = {}

    @abstractmethod
    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the state, float64 (C, *block), at each of the increasing `times` (T,); the first is 0 s.

        Raises:
            DivergedError: the trajectory cannot be computed.
        """

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return the invariants of a state over the whole domain, by the names of `Spec.invariants`."""
        return {}


class SteppedTrajectory(Trajectory):
    """A trajectory that advances any state of its own.

    Attributes:
        initial_state: the state at time 0, float64 (C, *block).
    """

    initial_state: np.ndarray

    @abstractmethod
    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        """Return the state at `time + duration` (s) from the state at `time`; the inner steps are its own.

        Raises:
            DivergedError: the trajectory cannot be computed.
        """

    def budget(self, state: np.ndarray, time: float, duration: float) -> dict[str, float]:
        """Return what sources and walls supply to each invariant during `advance` of the same arguments.

        An invariant that is named changes by this amount to round-off. By default nothing is known.
        """
        return {}

    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the states frame by frame, see `Trajectory.solve`."""
        from solvers.rollout import rollout

        return rollout(self, times)


class Solver(ABC):
    """A discretised equation on a communicator.

    The constructor of a subclass takes its options as keyword arguments, and `communicator`; it raises
    `UserError` for options that cannot work. A solver keeps no state between calls.

    Attributes:
        communicator: the ranks that share one trajectory.
        spec: the description of what is solved.
        block: this rank's part of the site axes, one slice an axis.
        method: the numerical method in words, for the run record.
        order_in_time: the order of convergence in the step, for the option `time_step`; infinite for a
            scheme that is exact in time.
        order_in_space: the order of convergence in the cell width, for the option `resolution`; infinite
            for a spectral discretisation and for particles.
        time_scale: the time (s) in which a typical solution changes by its own size.
    """

    communicator: MPI.Intracomm
    spec: Spec
    block: tuple[slice, ...]
    method: str
    order_in_time: float
    order_in_space: float
    time_scale: float

    @classmethod
    def unused_options(cls, options: Mapping[str, Any]) -> Iterator[str]:
        """Yield the dotted keys of options that have no effect next to the others: "heaters.rate".

        `options` holds the constructor's arguments, checked, with dataclasses as mappings. The pipeline drops
        such an option where it has its default, and refuses another value; the constructor therefore needs a
        default for each key that this method yields. Options of another `kind` of a union are not yielded.
        """
        yield from ()

    @abstractmethod
    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """Draw the parameters of one trajectory; the same on every rank for equal generators.

        The names of `spec.parameters` map to floats inside their ranges, or outside with `outside=True`;
        whatever else determines the trajectory (random coefficients of the initial state) maps to float64
        arrays whose shapes never vary.
        """

    @abstractmethod
    def prepare(self, parameters: Parameters) -> Trajectory:
        """Return the trajectory that these parameters determine."""

    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the continuous equation, left side minus right side, by equation name.

        `fields` maps the channels of the state, those of the coefficient fields and, where the equation is
        not autonomous, the time `t` (s) to arrays of any kind, sites last; `derivative(values, axis)`
        differentiates along `"t"` or an axis of the spec. The result is empty where a solver states no
        residual: its data then serve surrogates that need none.
        """
        return {}

    def initial_condition(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """Return the channels of the state at time 0 and those of the coefficient fields at any points.

        `coordinates` maps the axes' names to arrays (m); for particles it is not read, and the results have
        the particles last. `xp` is the module of the arrays, numpy or torch, and has `sin`, `cos`, `exp`,
        `sqrt` and `stack`; with torch the parameters are tensors. Coordinates, parameters and results
        broadcast against each other.

        Raises:
            UserError: the spec is not `parametric`.
        """
        raise UserError(
            f"the {self.spec.name} trajectories have no initial condition at arbitrary points: their initial "
            "fields or coefficient fields hold random numbers, known at the sites of the data alone"
        )


@dataclass(frozen=True)
class TrajectoryBatch:
    """Whole trajectories, one a row.

    `states` float64 (B, T, C, *sites), `coefficient_fields` (B, K, *sites), the `invariants` of each frame
    by name (B, T), the reason why a trajectory failed or None, and the `counts` of all trajectories.
    """

    states: np.ndarray
    coefficient_fields: np.ndarray
    invariants: dict[str, np.ndarray]
    failures: list[str | None]
    counts: Mapping[str, int]


class BatchedSolver(Solver):
    """A solver that also computes many small trajectories in one call, with no Python between steps.

    `solve_batch` serves trajectories that one rank solves, at any size; `prepare` serves several ranks and
    single states.
    """

    @abstractmethod
    def solve_batch(self, batch: Sequence[Parameters], times: np.ndarray) -> TrajectoryBatch:
        """Return the trajectories of `batch` at `times` (T,), evenly spaced from 0, on one rank.

        Bit for bit equal to `prepare(parameters).solve(times)` and its `invariants`; where that raises a
        `DivergedError`, the row of the trajectory is undefined and has a reason.
        """


SOLVERS = Family("solver", "solvers", Solver)  # type: ignore[type-abstract]


def solver_names() -> list[str]:
    """Return the names under which `solver_class` finds a solver."""
    return SOLVERS.names()


def solver_class(name: str, path: Path | None = None) -> type[Solver]:
    """Return the solver of module `solvers/NAME.py`, of an installed package, or in the user's file `path`.

    Raises:
        UserError: there is no such solver.
    """
    return SOLVERS.find(name, path)
