"""The motion of bodies by one integrator, on the ranks of a communicator."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from solvers.nbody.batched import advance_batch, embed, mean_squared_distance
from solvers.nbody.diagnostics import ENERGY, LEAST_SEPARATION, NUM_OBSERVABLES, observe
from solvers.nbody.distributed import SharedBodies
from solvers.nbody.integrators import COMPOSITIONS
from solvers.nbody.outcome import CLOSE_ENCOUNTER, COMPLETED, ENERGY_LOST, NUM_ENTRIES, Outcome

Integrator = Literal["hermite4", "leapfrog", "yoshida4"]


class Motion:
    """The motion of the bodies of one trajectory; see `NBody` for the options.

    A state (2 d, local) holds the bodies of this rank. `mass` (n,) in kg holds all bodies.
    """

    def __init__(
        self,
        shared_bodies: SharedBodies,
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
        self.shared_bodies = shared_bodies
        self.dimension = dimension
        self.gravitational_constant = gravitational_constant
        self.softening_squared = softening**2
        self._lengths = np.array(COMPOSITIONS.get(integrator, ()))
        self._accuracy = accuracy
        self._time_step = time_step
        self._tolerance = energy_tolerance
        self._max_steps = max_steps

    def advance(
        self, state: np.ndarray, mass: np.ndarray, energy: float, duration: float
    ) -> tuple[np.ndarray, Outcome]:
        """Return the state after `duration` (s) and the outcome; `energy` (J) is the energy at time 0 s."""
        if self.shared_bodies.is_replicated:
            return self._advance_replicated(state, mass, energy, duration)
        return self._advance_distributed(state, mass, energy, duration)

    def advance_batch(
        self,
        states: np.ndarray,
        mass: np.ndarray,
        energies: np.ndarray,
        observables: np.ndarray,
        duration: float,
    ) -> list[Outcome]:
        """Fill the frames after the first frame on one rank, see `batched.advance_batch`."""
        outcomes = np.empty((len(states), NUM_ENTRIES))
        advance_batch(
            states, mass, self.gravitational_constant, self.softening_squared, self._lengths, self._accuracy,
            self._num_steps(duration), duration, energies, self._tolerance, observables, outcomes,
        )  # fmt: skip
        return [Outcome.from_row(row) for row in outcomes]

    def observe(self, state: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Return the observables (8,) of the bodies of all ranks, see `diagnostics.observe`."""
        bodies = self.shared_bodies.gather(_embed_state(state))
        potential, least_separation_squared = self.shared_bodies.pair_sums(
            bodies, mass, self.gravitational_constant * mass, self.softening_squared
        )
        observables = np.empty(NUM_OBSERVABLES)
        observe(bodies, mass, potential, least_separation_squared, observables)
        return observables

    def failure_reason(self, outcome: Outcome, time: float) -> str | None:
        """Return the reason of failure of the frame that ends at `time` (s), or None."""
        return outcome.failure_reason(time, self._tolerance, self._max_steps)

    def _advance_replicated(
        self, state: np.ndarray, mass: np.ndarray, energy: float, duration: float
    ) -> tuple[np.ndarray, Outcome]:
        """Advance the bodies of all ranks on each rank."""
        whole_state = self.shared_bodies.gather(state)
        states = np.empty((1, 2, *whole_state.shape))
        states[0, 0] = whole_state
        observables = np.empty((1, 2, NUM_OBSERVABLES))
        (outcome,) = self.advance_batch(states, mass[None], np.array([energy]), observables, duration)
        return states[0, 1][:, self.shared_bodies.block], outcome

    def _advance_distributed(
        self, state: np.ndarray, mass: np.ndarray, energy: float, duration: float
    ) -> tuple[np.ndarray, Outcome]:
        """Advance the bodies of each rank, with messages between the ranks."""
        bodies, d = _embed_state(state), self.dimension
        close_squared = CLOSE_ENCOUNTER * mean_squared_distance(self.shared_bodies.gather(bodies))
        status, steps, least_separation_squared = self.shared_bodies.advance(
            bodies, self.gravitational_constant * mass, self.softening_squared, self._lengths, self._accuracy,
            self._num_steps(duration), duration, close_squared,
        )  # fmt: skip
        new_state = np.concatenate([bodies[:d], bodies[3 : 3 + d]])
        observables = self.observe(new_state, mass)
        error = abs(observables[ENERGY] - energy) / abs(energy)
        if status == COMPLETED and not error <= self._tolerance:
            status = ENERGY_LOST
        least_separation_squared = max(
            min(observables[LEAST_SEPARATION] ** 2, least_separation_squared - self.softening_squared), 0.0
        )
        return new_state, Outcome(
            status,
            1,
            steps,
            math.sqrt(least_separation_squared),
            int(least_separation_squared < close_squared),
            float(error),
        )

    def _num_steps(self, duration: float) -> int:
        """Return the number of steps of a frame, or the upper bound of this number for hermite4."""
        if self._time_step is None:
            return self._max_steps
        return max(math.ceil(duration / self._time_step * (1 - 1e-12)), 1)


def _embed_state(state: np.ndarray) -> np.ndarray:
    """Return the bodies (6, local) of a state in three dimensions."""
    bodies = np.empty((6, state.shape[1]))
    embed(np.ascontiguousarray(state), bodies)
    return bodies
