"""The motion of bodies by one integrator, on the ranks that share them."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from solvers.nbody.batched import advance_batch, embed, mean_squared_distance
from solvers.nbody.diagnostics import ENERGY, LEAST_SEPARATION, NUM_OBSERVED, observe
from solvers.nbody.distributed import SharedBodies
from solvers.nbody.integrators import COMPOSITIONS
from solvers.nbody.outcome import CLOSE, COMPLETED, ENERGY_LOST, NUM_NUMBERS, Outcome

Integrator = Literal["hermite4", "leapfrog", "yoshida4"]


class Motion:
    """The motion of the bodies of one trajectory; see `NBody` for the options.

    A state is (2 d, local) and holds the bodies of this rank; `mass` (n,) in kg holds all bodies.
    """

    def __init__(
        self,
        shared: SharedBodies,
        *,
        dimension: int,
        gravitational_constant: float,
        softening: float,
        integrator: Integrator,
        accuracy: float,
        time_step: float | None,
        energy_tolerance: float,
        max_steps: int,
    ):
        self.shared = shared
        self.dimension = dimension
        self.gravitational_constant = gravitational_constant
        self.softening2 = softening**2
        self._lengths = np.array(COMPOSITIONS.get(integrator, ()))
        self._accuracy = accuracy
        self._time_step = time_step
        self._tolerance = energy_tolerance
        self._max_steps = max_steps

    def advance(
        self, state: np.ndarray, mass: np.ndarray, energy: float, duration: float
    ) -> tuple[np.ndarray, Outcome]:
        """Return the state after `duration` (s) and the outcome; `energy` (J) is the energy at time 0."""
        if self.shared.is_replicated:
            return self._advance_all(state, mass, energy, duration)
        return self._advance_shared(state, mass, energy, duration)

    def advance_batch(
        self,
        states: np.ndarray,
        mass: np.ndarray,
        energies: np.ndarray,
        observed: np.ndarray,
        duration: float,
    ) -> list[Outcome]:
        """Fill the frames after the first of each trajectory, see `batched.advance_batch`; one rank."""
        outcomes = np.empty((len(states), NUM_NUMBERS))
        advance_batch(
            states, mass, self.gravitational_constant, self.softening2, self._lengths, self._accuracy,
            self._num_steps(duration), duration, energies, self._tolerance, observed, outcomes,
        )  # fmt: skip
        return [Outcome.from_numbers(row) for row in outcomes]

    def observe(self, state: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Return the observed array (8,) of the bodies of all ranks, see `diagnostics.observe`."""
        bodies = self.shared.gather(_embedded(state))
        potential, least2 = self.shared.pair_sums(
            bodies, mass, self.gravitational_constant * mass, self.softening2
        )
        observed = np.empty(NUM_OBSERVED)
        observe(bodies, mass, potential, least2, observed)
        return observed

    def reason(self, outcome: Outcome, time: float) -> str | None:
        """Return why the frame that ends at `time` (s) failed; None where it did not."""
        return outcome.reason(time, self._tolerance, self._max_steps)

    def _advance_all(
        self, state: np.ndarray, mass: np.ndarray, energy: float, duration: float
    ) -> tuple[np.ndarray, Outcome]:
        """Advance the bodies of all ranks on each rank."""
        whole_state = self.shared.gather(state)
        states = np.empty((1, 2, *whole_state.shape))
        states[0, 0] = whole_state
        observed = np.empty((1, 2, NUM_OBSERVED))
        (outcome,) = self.advance_batch(states, mass[None], np.array([energy]), observed, duration)
        return states[0, 1][:, self.shared.block], outcome

    def _advance_shared(
        self, state: np.ndarray, mass: np.ndarray, energy: float, duration: float
    ) -> tuple[np.ndarray, Outcome]:
        """Advance the bodies of each rank, with messages between the ranks."""
        bodies, d = _embedded(state), self.dimension
        close2 = CLOSE * mean_squared_distance(self.shared.gather(bodies))
        status, steps, least2 = self.shared.advance(
            bodies, self.gravitational_constant * mass, self.softening2, self._lengths, self._accuracy,
            self._num_steps(duration), duration, close2,
        )  # fmt: skip
        new_state = np.concatenate([bodies[:d], bodies[3 : 3 + d]])
        observed = self.observe(new_state, mass)
        error = abs(observed[ENERGY] - energy) / abs(energy)
        if status == COMPLETED and not error <= self._tolerance:
            status = ENERGY_LOST
        least2 = max(min(observed[LEAST_SEPARATION] ** 2, least2 - self.softening2), 0.0)
        return new_state, Outcome(status, 1, steps, math.sqrt(least2), int(least2 < close2), float(error))

    def _num_steps(self, duration: float) -> int:
        """Return the number of steps of a frame; for hermite4 its bound."""
        if self._time_step is None:
            return self._max_steps
        return max(math.ceil(duration / self._time_step * (1 - 1e-12)), 1)


def _embedded(state: np.ndarray) -> np.ndarray:
    """Return the bodies (6, local) of a state."""
    bodies = np.empty((6, state.shape[1]))
    embed(np.ascontiguousarray(state), bodies)
    return bodies
