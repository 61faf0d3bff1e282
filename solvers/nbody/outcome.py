"""The outcomes of trajectories of bodies, and the reasons of failures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: The status of a trajectory: completed, or the kind of failure.
COMPLETED, TOO_MANY_STEPS, NOT_FINITE, ENERGY_LOST = 0, 1, 2, 3

#: The number of entries of an `Outcome`.
NUM_ENTRIES = 6

#: The squared separation of a close encounter, relative to the mean squared distance of the bodies from their
#: mean position.
CLOSE_ENCOUNTER = 1e-4


@dataclass(frozen=True)
class Outcome:
    """The outcome of one or more frames of a trajectory.

    Attributes:
        status: `COMPLETED`, `TOO_MANY_STEPS`, `NOT_FINITE` or `ENERGY_LOST`.
        frames: the number of started frames.
        steps: the number of steps in all frames.
        least_separation: the smallest separation of two bodies, m.
        close_encounters: the number of frames with a close encounter.
        energy_error: the relative error of the energy after the last frame.
    """

    status: int
    frames: int
    steps: int
    least_separation: float
    close_encounters: int
    energy_error: float

    @classmethod
    def from_row(cls, values: np.ndarray) -> Outcome:
        """Return the outcome from a row (6,) of the compiled code."""
        status, frames, steps, least_separation, close_encounters, energy_error = map(float, values)
        return cls(
            int(status), int(frames), int(steps), least_separation, int(close_encounters), energy_error
        )

    def add_to(self, counts: dict[str, int]) -> None:
        """Add the steps and the close encounters to the counts of a trajectory."""
        counts["steps"] += self.steps
        counts["close_encounters"] += self.close_encounters

    def failure_reason(self, time: float, tolerance: float, max_steps: int) -> str | None:
        """Return the reason of failure in the frame that ends at `time` (s), or None."""
        if self.status == COMPLETED:
            return None
        separation = f"the smallest separation is {self.least_separation:.3g} m"
        if self.status == ENERGY_LOST:
            return (
                f"the relative error of the energy is {self.energy_error:.3g} at time {time:g} s, "
                f"more than solver.energy_tolerance={tolerance:g}; {separation}"
            )
        if self.status == TOO_MANY_STEPS:
            return f"more than solver.max_steps={max_steps} steps are needed up to {time:g} s; {separation}"
        return f"two bodies collide or values are not finite before time {time:g} s; {separation}"


def start_failure(energy: float) -> str | None:
    """Return the reason why no trajectory starts from a state of this energy (J), or None."""
    if math.isfinite(energy):
        return None
    return (
        "two bodies coincide at time 0 s, or the state is not finite; type solver.softening=LENGTH above 0 m"
    )
