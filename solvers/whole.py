"""Solvers that return whole trajectories: one Python function from the parameters to all frames."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from simsurrogate.errors import UserError, file_and_class
from simsurrogate.spec import Spec
from solvers.contract import Parameters, Solver, Trajectory
from solvers.numerics.parameter_sampling import draw


class WholeSolver(Solver):
    """A solver of one rank that returns whole trajectories, see `states`.

    The constructor of a subclass takes its options and `communicator`, and calls this constructor with the
    spec. Random initial states need a `sample` of the subclass, which adds arrays to the drawn scalars.

    Args:
        spec: the description of equation, sites, fields and parameters.
        communicator: the ranks that share a trajectory; one rank.

    Raises:
        UserError: several ranks share a trajectory.
    """

    method = "whole trajectories"
    order_in_time = order_in_space = math.nan
    time_scale = 1.0

    def __init__(self, spec: Spec, communicator: MPI.Intracomm):
        if communicator.size > 1:
            raise UserError(
                f"group_size={communicator.size}: the solver {spec.name} returns whole trajectories and runs "
                "on one rank. Other ranks compute other trajectories. Type group_size=1"
            )
        self.spec, self.communicator = spec, communicator
        self.block = tuple(slice(0, axis.size) for axis in spec.axes)

    @abstractmethod
    def states(self, parameters: Parameters, times: np.ndarray) -> np.ndarray:
        """Return the states (T, C, *sites) at the increasing `times` (T,) from 0 s on.

        Raises:
            DivergedError: the trajectory cannot be computed.
        """

    def coefficient_fields(self, parameters: Parameters) -> np.ndarray | None:
        """Return the coefficient fields (K, *sites), or None if the spec has none."""
        return None

    def invariants(self, state: np.ndarray, parameters: Parameters) -> dict[str, float]:
        """Return the invariants of a state (C, *sites), by the names of `Spec.invariants`."""
        return {}

    def sample(self, rng: np.random.Generator, outside: bool = False) -> Parameters:
        """Draw the scalar parameters of the spec uniformly in their ranges, see `Solver.sample`."""
        return dict(draw(self.spec.parameters, rng, outside))

    def prepare(self, parameters: Parameters) -> WholeTrajectory:
        """Return the trajectory with these parameters."""
        return WholeTrajectory(self, parameters)


@dataclass
class WholeTrajectory(Trajectory):
    """The whole solution of a `WholeSolver` for one set of parameters."""

    solver: WholeSolver
    parameters: Parameters

    def __post_init__(self) -> None:
        self.coefficient_fields = self.solver.coefficient_fields(self.parameters)

    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the states of the solver in order of time, see `Trajectory.solve`.

        Raises:
            TypeError: the states have another shape.
        """
        states = self.solver.states(self.parameters, times)
        spec = self.solver.spec
        expected_shape = (len(times), len(spec.channels), *spec.shape)
        if np.shape(states) != expected_shape:
            raise TypeError(
                f"{file_and_class(type(self.solver))}.states returns the shape {np.shape(states)}. Its spec "
                f"and the times require {expected_shape} = (times, channels, *sites)"
            )
        yield from np.asarray(states, np.float64)

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return the invariants of a state, see `Trajectory.invariants`."""
        return self.solver.invariants(state, self.parameters)
