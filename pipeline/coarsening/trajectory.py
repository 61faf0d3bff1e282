"""Trajectories whose frames are stored on a coarser grid than the solver's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import Spec
from solvers.contract import Frame, SteppedTrajectory, Trajectory
from solvers.returned_values import check_invariants, check_quantities, check_shape

#: A function from a field (..., *block) of one grid to the other grid.
Map = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Maps:
    """The maps between the solver's grid and the coarser grid.

    Attributes:
        spec: the spec of the solver.
        block_shape: the shape of this rank's block on the solver's grid.
        to_coarse: the map of a state.
        coefficients: the map of the coefficient fields.
        to_fine: the map of a state to the solver's grid; None if the coarser grid does not determine it.
        name: the numbers of the solver's cells in a stored cell, for messages.
    """

    spec: Spec
    block_shape: tuple[int, ...]
    to_coarse: Map
    coefficients: Map
    to_fine: Map | None
    name: str


class CoarseTrajectory(Trajectory):
    """A trajectory of the solver, with coarse frames and coefficient fields.

    The solver's own frames determine the invariants and its quantities of interest, so `frames` returns both
    and `invariants` refuses a coarse frame.

    Raises:
        TypeError: the solver returns fields of another shape.
    """

    def __init__(self, fine: Trajectory, maps: Maps):
        self.fine, self._maps = fine, maps
        num_coefficients = len(maps.spec.coefficient_channels)
        if fine.coefficient_fields is not None or num_coefficients:
            self._check_shape("coefficient_fields", fine.coefficient_fields, num_coefficients)
            assert fine.coefficient_fields is not None
            self.coefficient_fields = maps.coefficients(fine.coefficient_fields)

    def stored(self, state: np.ndarray) -> np.ndarray:
        """Return the coarse frame of a state of the solver."""
        self._check_shape("state", state, len(self._maps.spec.channels))
        return self._maps.to_coarse(state)

    @property
    def counts(self) -> Mapping[str, int]:  # type: ignore[override]
        """The counts of the solver's work."""
        return self.fine.counts

    def solve(self, times: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the coarse states, see `Trajectory.solve`."""
        return (frame.state for frame in self.frames(times))

    def frames(self, times: np.ndarray) -> Iterator[Frame]:
        """Yield the coarse states with the scalars of the solver's states, see `Trajectory.frames`."""
        for frame in self.fine.frames(times):
            yield Frame(
                self.stored(frame.state),
                partial(self._checked_invariants, frame),
                partial(self._checked_quantities, frame),
            )

    def invariants(self, state: np.ndarray) -> NoReturn:
        """Refuse the state, because the solver's invariants need a state on the solver's grid.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"the invariants of {self._maps.spec.name} need a state on the solver's own grid, and this state "
            f"is stored with {self._maps.name}. Generate the data with output.coarsen=1"
        )

    def _check_shape(self, name: str, values: np.ndarray | None, num_channels: int) -> None:
        check_shape(self.fine, name, values, (num_channels, *self._maps.block_shape))

    def _checked_invariants(self, frame: Frame) -> dict[str, float]:
        invariants = frame.invariants()
        check_invariants(self.fine, invariants, self._maps.spec)
        return invariants

    def _checked_quantities(self, frame: Frame) -> dict[str, float]:
        quantities = frame.quantities()
        check_quantities(self.fine, quantities, self._maps.spec)
        return quantities


class CoarseSteppedTrajectory(CoarseTrajectory, SteppedTrajectory):
    """A stepped trajectory with coarse frames. It cannot start again from a coarse frame."""

    fine: SteppedTrajectory

    @property
    def initial_state(self) -> np.ndarray:  # type: ignore[override]
        """The coarse state at time 0."""
        self._check_shape("initial_state", self.fine.initial_state, len(self._maps.spec.channels))
        return self._maps.to_coarse(self.fine.initial_state)

    def advance(self, state: np.ndarray, time: float, duration: float) -> NoReturn:
        """Refuse the state, because it does not determine the solver's state.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"a trajectory of {self._maps.spec.name} cannot start from a stored frame, because the frame is "
            f"stored with {self._maps.name} and does not determine the solver's state. Solve from time 0, or "
            "generate the data with output.coarsen=1"
        )

    def advance_linear(self, state: np.ndarray, time: float, duration: float) -> np.ndarray | None:
        """Return the coarse solution without nonlinear terms, see `SteppedTrajectory.advance_linear`.

        The linear terms of a spectral solver change each wave by itself. The waves of a truncated state
        therefore have the solver's own solution. Averages do not determine it, and the result is None.
        """
        if self._maps.to_fine is None:
            return None
        fine_state = self.fine.advance_linear(self._maps.to_fine(state), time, duration)
        return None if fine_state is None else self._maps.to_coarse(fine_state)
