"""The trajectory of bodies under one set of parameters."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from solvers.contract import DivergedError, SteppedTrajectory
from solvers.nbody.diagnostics import ENERGY
from solvers.nbody.invariants import Invariants
from solvers.nbody.motion import Motion
from solvers.nbody.outcome import coincidence

NO_COUNTS = {"steps": 0, "close_encounters": 0}


@dataclass(frozen=True)
class BodiesTrajectory(SteppedTrajectory):
    """The trajectory of bodies under one set of parameters.

    Attributes:
        motion: the integrator.
        measured: the invariants to measure.
        masses: the masses of the bodies of all ranks, kg (n,).
        initial_state: the state at time 0, (2 d, local).
        coefficient_fields: the masses of the bodies of this rank, kg (1, local).
        counts: the steps, and the frames with a close encounter.
    """

    motion: Motion
    measured: Invariants
    masses: np.ndarray
    initial_state: np.ndarray
    coefficient_fields: np.ndarray
    counts: dict[str, int] = field(default_factory=NO_COUNTS.copy)

    def advance(self, state: np.ndarray, time: float, duration: float) -> np.ndarray:
        """Return the state at `time + duration`, see `SteppedTrajectory.advance`.

        The energy bound refers to the energy at time 0: that of `state` where `time` is 0, else that of the
        initial state.

        Raises:
            DivergedError: the energy error exceeds its bound, a close encounter needs too many steps, or
                numbers are not finite.
        """
        first_state = state if time == 0 else self.initial_state
        energy = float(self.motion.observe(first_state, self.masses)[ENERGY])
        reason = coincidence(energy)
        if reason:
            raise DivergedError(reason)
        new_state, outcome = self.motion.advance(state, self.masses, energy, duration)
        outcome.add_to(self.counts)
        reason = self.motion.reason(outcome, time + duration)
        if reason:
            raise DivergedError(reason)
        return new_state

    def budget(self, state: np.ndarray, time: float, duration: float) -> dict[str, float]:
        """Return 0 for momentum, which the pair forces conserve to round-off.

        Energy and angular momentum are conserved up to the error of the integrator.
        """
        return {name: 0.0 for name in self.measured.entries if name.startswith("momentum")}

    def invariants(self, state: np.ndarray) -> dict[str, float]:
        """Return the invariants of the bodies of all ranks, by name."""
        observed = self.motion.observe(state, self.masses)
        return {name: float(value) for name, value in self.measured.series(observed).items()}
