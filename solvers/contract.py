"""The contract of every solver: a `Solver` draws parameters and prepares the `Trajectory` of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simsurrogate.discovery import Family
from simsurrogate.errors import UserError
from simsurrogate.spec import Spec
from solvers.trajectory import DivergedError, Frame, SteppedTrajectory, Trajectory

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = [
    "SOLVERS",
    "DiscretisationError",
    "DivergedError",
    "Frame",
    "Parameters",
    "Setting",
    "Solver",
    "SteppedTrajectory",
    "Trajectory",
    "last_state",
    "solver_class",
    "solver_names",
]

#: The numbers and arrays, by name, that determine one trajectory and its initial condition completely.
Parameters = dict[str, Any]


@dataclass(frozen=True)
class DiscretisationError:
    """The estimated error of the last frame of a trajectory, relative to the norm of the exact solution.

    Attributes:
        grid: the error due to the grid.
        time: the error due to the steps in time.
    """

    grid: float
    time: float

    @property
    def total(self) -> float:
        """The sum of both errors."""
        return self.grid + self.time


@dataclass(frozen=True)
class Setting:
    """A solver with other settings on one rank, for the comparison of a surrogate with its solver.

    Attributes:
        name: the settings in words, for a table.
        solver: the solver, with the parameters of the original solver.
        to_sites: the map from a state of `solver` (C, *sites) to the sites of the original solver.
    """

    name: str
    solver: Solver
    to_sites: Callable[[np.ndarray], np.ndarray] = lambda state: state


class Solver(ABC):
    """A discretised equation on a communicator.

    The constructor of a subclass takes its options and `communicator` as keyword arguments, and raises
    `UserError` for invalid options. A solver keeps no state between calls.

    Attributes:
        communicator: the ranks that share one trajectory.
        spec: the description of equation, sites, fields and parameters.
        block: the slice of this rank's sites along each axis.
        method: the numerical method in words, for the run record.
        order_in_time: the order of convergence in the time step (option `time_step`); infinity for a scheme
            that is exact in time, and NaN if the order is unknown.
        order_in_space: the order of convergence in the cell width (option `resolution`); infinity for a
            spectral discretisation and for particles, and NaN if the order is unknown.
        time_scale: the time (s) in which a typical solution changes by about its own size.
    """

    communicator: MPI.Intracomm
    spec: Spec
    block: tuple[slice, ...]
    method: str
    order_in_time: float
    order_in_space: float
    time_scale: float

    @classmethod
    def unused_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the dotted key of each option without effect, and the cause in words for the error message.

        An example is `("heaters.rate", "solver.heaters.count=0")`. `options` holds the checked arguments of
        the constructor, with dataclasses as mappings. The pipeline drops an unused option with the default
        value of its YAML, and refuses any other value. The constructor therefore needs a default for each
        yielded key. The options of a `kind` that is not chosen are not yielded.
        """
        yield from ()

    def program_identity(self) -> dict[str, Any]:
        """Return what identifies the external program that computes the trajectories, as JSON data.

        The result belongs to the identity of a data set: names, checksums of files, a version. The option
        `program` of such a solver says how this machine starts the program. This option comes from the
        command line alone and does not belong to the identity. All ranks call this method together. The
        default is an empty result: no external program.

        Raises:
            UserError: the program cannot be identified.
        """
        return {}

    @abstractmethod
    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """Draw the parameters of one trajectory; equal generators give equal parameters on every rank.

        The result holds a float for each parameter of `spec.parameters`, inside its range. With
        `outside=True` at least one of the parameters lies outside its range. All other random numbers, such
        as the coefficients of the initial state, are float64 arrays of constant shapes.

        Raises:
            UserError: with `outside=True`, no trajectory differs in kind from those inside the ranges.
        """

    @abstractmethod
    def prepare(self, parameters: Parameters) -> Trajectory:
        """Return the trajectory with these parameters."""

    def cautions(self, duration: float) -> Iterator[str]:
        """Yield a sentence with numbers for each option that may not mean what a user expects.

        The pipeline prints the sentences before it generates trajectories of `duration` (s).

        Raises:
            UserError: the options do not work with this duration.
        """
        yield from ()

    def discretisation_error(self, parameters: Parameters, times: np.ndarray) -> DiscretisationError | None:
        """Return the estimated error of a trajectory with these parameters at the last of `times` (s).

        The pipeline calls this method for a few trajectories before it generates a data set. All ranks call
        this method together and return the same result. The default is None: no estimate.

        Raises:
            DivergedError: the trajectory cannot be computed.
        """
        return None

    def with_other_accuracy(self) -> tuple[Solver, float]:
        """Return this solver with longer or shorter steps, and its own error over the difference of both.

        The pipeline calls this method if the spec is `chaotic`. Examples are a solver with 10 times the error
        and 1 / 9, or a solver of order p with half the steps and 2^p / (2^p - 1).
        """
        raise NotImplementedError

    def cheaper_settings(self) -> Iterator[Setting]:
        """Yield settings that take less time and have a larger error: coarser grids, looser tolerances.

        The evaluation looks among these settings for the cheapest one that is as accurate as a surrogate.
        Grids too coarse for the drawn fields belong to the list. The default is an empty list: a surrogate is
        compared with this solver as it is.
        """
        yield from ()

    def reference_setting(self) -> Setting | None:
        """Return the setting with a negligible error, to which the errors of other settings are relative.

        The default is None: the states of this solver count as exact.
        """
        return None

    def residual(
        self,
        fields: Mapping[str, Any],
        derivative: Callable[..., Any],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the residuals (left side minus right side) of the continuous equations, by equation name.

        `fields` maps the channels of the state and of the coefficient fields to arrays of any library, with
        the sites last. If the equation is not autonomous, `fields` also holds the time `t` (s).
        `derivative(values, axis)` differentiates along `"t"` or an axis of the spec. The default is an empty
        result. Data sets and surrogates without physics need no residual.
        """
        return {}

    def initial_condition(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """Return the channels of the state at time 0 and of the coefficient fields at any points.

        `coordinates` maps the names of the axes to arrays (m). A solver of particles ignores `coordinates`
        and returns arrays with the particles last. `xp` is the array module, numpy or torch, with the
        functions `sin`, `cos`, `exp`, `tanh`, `sqrt` and `stack`. With torch the parameters are tensors.
        Coordinates, parameters and results broadcast against each other.

        Raises:
            UserError: the spec is not `parametric`.
        """
        raise UserError(
            f"the {self.spec.name} trajectories have no initial condition at arbitrary points: their initial "
            "state or coefficient fields hold random numbers. Only parametric trajectories have an initial "
            "condition at arbitrary points. Choose solver options without random numbers, or a surrogate "
            "that needs no initial condition"
        )


def last_state(solver: Solver, trajectory: Trajectory, times: np.ndarray) -> np.ndarray:
    """Return the state of all ranks, whose blocks are slabs along the first axis, at the last time (s)."""
    (state,) = deque(trajectory.solve(times), maxlen=1)
    return np.concatenate(solver.communicator.allgather(state), axis=1)


SOLVERS = Family("solver", "solvers", Solver)  # type: ignore[type-abstract]


def solver_names() -> list[str]:
    """Return the names under which `solver_class` finds a solver."""
    return SOLVERS.names()


def solver_class(name: str, path: Path | None = None) -> type[Solver]:
    """Return the class of the solver NAME, from the shipped or installed packages or the user's file `path`.

    Raises:
        UserError: no solver has this name.
    """
    return SOLVERS.find(name, path)
