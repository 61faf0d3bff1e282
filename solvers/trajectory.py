"""The solution for one set of parameters.

A state is one array `(channels, *sites)`. Sites are the cells of a grid or particles. Each rank holds one
block of the sites. `simsurrogate.spec.Spec` describes sites, fields and parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from solvers.rollout import rollout


class DivergedError(ArithmeticError):
    """A trajectory that cannot be computed: non-finite values, blow-up, or an error above its bound.

    Either all ranks of the solver's communicator raise this error, or no rank does.
    """


@dataclass(frozen=True)
class Frame:
    """A state of a trajectory, and functions that compute its scalars when they are called.

    Attributes:
        state: the state, float64 (C, *block).
        invariants: returns the invariants of the state, see `Trajectory.invariants`.
        quantities: returns the solver's own quantities of interest, see `Trajectory.quantities`.
    """

    state: np.ndarray
    invariants: Callable[[], dict[str, float]]
    quantities: Callable[[], dict[str, float]]


class Trajectory(ABC):
    """The solution for one set of parameters.

    A subclass that is not a `SteppedTrajectory` returns complete solutions only. All ranks of the solver's
    communicator call each method together.

    Attributes:
        coefficient_fields: the coefficient fields, float64 (K, *block); None if the spec has none.
        counts: the counts of work (for example inner steps) for the run record, equal on all ranks.
    """

    coefficient_fields: np.ndarray | None = None
    counts: Mapping[str, int] = {}

    @abstractmethod
    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the state, float64 (C, *block), at the increasing `times` (T,) from 0 s on.

        Raises:
            DivergedError: the trajectory cannot be computed.
        """

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return the invariants of a state over the whole domain, by the names of `Spec.invariants`."""
        return {}

    def frames(self, times: np.ndarray) -> Iterator[Frame]:
        """Yield the frame at each of `times`, see `solve`."""
        for state in self.solve(times):
            yield Frame(state, partial(self.invariants, state), partial(self.quantities, state))

    def quantities(self, state: np.ndarray) -> dict[str, float]:
        """Return the solver's own quantities of interest of a state over the whole domain, by name.

        The names are those of `Spec.quantities` of the solver. The default is an empty result.
        """
        return {}


class SteppedTrajectory(Trajectory):
    """A trajectory that can be advanced from any state.

    Attributes:
        initial_state: the state at time 0, float64 (C, *block).
    """

    initial_state: np.ndarray

    @abstractmethod
    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        """Return the state at `time + duration` (s) from the state at `time` (s).

        The implementation chooses its inner steps and leaves `state` unchanged.

        Raises:
            DivergedError: the trajectory cannot be computed.
        """

    def advance_linear(self, state: np.ndarray, time: float, duration: float) -> np.ndarray | None:
        """Return the state at `time + duration` (s) by the equation without its nonlinear terms.

        The evaluation compares a surrogate with this solution, which costs almost nothing. The arguments are
        those of `advance`. The default is None: the equation is linear, or the solver has no such solution.
        """
        return None

    def budget(self, state: np.ndarray, time: float, duration: float) -> dict[str, float]:
        """Return the amount that sources and walls add to each invariant during `advance`, by name.

        Each invariant in the result changes by this amount, up to round-off. The default is an empty result.
        """
        return {}

    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the states in order of time, see `Trajectory.solve`."""
        return rollout(self.initial_state, self.advance, times)
