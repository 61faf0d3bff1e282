"""The trajectory of bodies for one set of parameters."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from solvers.contract import DivergedError, SteppedTrajectory
from solvers.nbody.diagnostics import ENERGY
from solvers.nbody.invariants import Invariants
from solvers.nbody.motion import Motion
from solvers.nbody.outcome import start_failure

NO_COUNTS = {"steps": 0, "close_encounters": 0}


@dataclass(frozen=True)
class BodiesTrajectory(SteppedTrajectory):
    """The trajectory of bodies for one set of parameters.

    Attributes:
        motion: the motion by the integrator.
        invariant_entries: the invariants, and their entries in the array of observables.
        masses: the masses of the bodies of all ranks, kg (n,).
        initial_state: the state at time 0 s, (2 d, local).
        coefficient_fields: the masses of the bodies of this rank, kg (1, local).
        counts: the numbers of steps and of frames with a close encounter.
    """

    motion: Motion
    invariant_entries: Invariants
    masses: np.ndarray
    initial_state: np.ndarray
    coefficient_fields: np.ndarray
    counts: dict[str, int] = field(default_factory=NO_COUNTS.copy)

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        """Return the state at `time + duration`, see `SteppedTrajectory.advance`.

        The bound of the energy error refers to the energy at time 0 s. For `time` = 0 s this energy is that
        of `state`, otherwise that of the initial state.

        Raises:
            DivergedError: the energy error exceeds its bound, a close encounter needs too many steps, or
                values are not finite.
        """
        first_state = state if time == 0 else self.initial_state
        energy = float(self.motion.observe(first_state, self.masses)[ENERGY])
        reason = start_failure(energy)
        if reason:
            raise DivergedError(reason)
        new_state, outcome = self.motion.advance(state, self.masses, energy, duration)
        outcome.add_to(self.counts)
        reason = self.motion.failure_reason(outcome, time + duration)
        if reason:
            raise DivergedError(reason)
        return new_state

    def budget(self, state: np.ndarray, time: float, duration: float) -> dict[str, float]:
        """Return the supply 0 of each momentum, because the pair forces conserve momentum to round-off.

        The integrator conserves energy and angular momentum only up to its own error.
        """
        return {name: 0.0 for name in self.invariant_entries.entries if name.startswith("momentum")}

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return the invariants of the bodies of all ranks, by name."""
        observables = self.motion.observe(state, self.masses)
        return {name: float(value) for name, value in self.invariant_entries.series(observables).items()}
