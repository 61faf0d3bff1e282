"""The outcome of advancing a trajectory of bodies, and the reasons of failed trajectories."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: The status of a trajectory: completed, or the reason of its failure.
COMPLETED, TOO_MANY_STEPS, NOT_FINITE, ENERGY_LOST = 0, 1, 2, 3

#: The numbers of an `Outcome`, in the order of its attributes.
NUM_NUMBERS = 6

#: A close encounter has a squared separation below this fraction of the mean squared distance of the bodies
#: from the mean of their positions.
CLOSE = 1e-4


@dataclass(frozen=True)
class Outcome:
    """The outcome of advancing a trajectory by one or more frames.

    Attributes:
        status: one of the constants above.
        frames: how many frames were begun.
        steps: the steps of all frames.
        least_separation: the least separation of two bodies, m.
        close_encounters: how many frames have a close encounter.
        energy_error: the relative error of the energy after the last frame.
    """

    status: int
    frames: int
    steps: int
    least_separation: float
    close_encounters: int
    energy_error: float

    @classmethod
    def from_numbers(cls, values: np.ndarray) -> Outcome:
        """Return the outcome of a row (6,) of the compiled code."""
        status, frames, steps, least_separation, close_encounters, energy_error = map(float, values)
        return cls(
            int(status), int(frames), int(steps), least_separation, int(close_encounters), energy_error
        )

    def add_to(self, counts: dict[str, int]) -> None:
        """Add the steps and the close encounters to the counts of a trajectory."""
        counts["steps"] += self.steps
        counts["close_encounters"] += self.close_encounters

    def reason(self, time: float, tolerance: float, max_steps: int) -> str | None:
        """Return why the trajectory failed in the frame that ends at `time` (s); None where it did not."""
        if self.status == COMPLETED:
            return None
        separation = f"the smallest separation is {self.least_separation:.3g} m"
        if self.status == ENERGY_LOST:
            return (
                f"the energy differs by {self.energy_error:.3g} of its initial value at time {time:g} s, "
                f"more than energy_tolerance={tolerance:g}; {separation}"
            )
        if self.status == TOO_MANY_STEPS:
            return f"more than max_steps={max_steps} steps before time {time:g} s; {separation}"
        return f"two bodies collide, or numbers are not finite, before time {time:g} s; {separation}"


def coincidence(energy: float) -> str | None:
    """Return why no trajectory starts from a state of this energy (J); None where one does."""
    if math.isfinite(energy):
        return None
    return "two bodies coincide at time 0, or their state is not finite; set solver.softening above 0 m"
