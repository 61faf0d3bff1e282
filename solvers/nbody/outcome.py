"""How a trajectory of bodies ended, and why it failed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The ends: all went well; or why not.
ARRIVED, TOO_MANY_STEPS, NOT_FINITE, ENERGY_LOST = 0, 1, 2, 3

#: The numbers of an `Outcome`, as the compiled code gives them.
NUM_NUMBERS = 6

#: A close encounter: a squared separation under this share of the mean squared distance from the centre.
CLOSE = 1e-4


@dataclass(frozen=True)
class Outcome:
    """The end of some frames, how many of them were begun, the steps of all, the least separation met (m),
    in how many frames that was a close encounter, and the relative error of the energy after the last.
    """

    end: int
    frames: int
    steps: int
    nearest: float
    close_encounters: int
    energy_error: float

    @classmethod
    def of(cls, numbers: np.ndarray) -> Outcome:
        """From a row of the compiled code."""
        end, frames, steps, nearest, close, error = (float(number) for number in numbers)
        return cls(int(end), int(frames), int(steps), nearest, int(close), error)

    def add_to(self, counts: dict[str, int]) -> None:
        """Add the steps and the close encounters to a trajectory's counts."""
        counts["steps"] += self.steps
        counts["close_encounters"] += self.close_encounters

    def reason(self, time: float, tolerance: float, max_steps: int) -> str | None:
        """Why the trajectory failed in the frame that ends at `time` (s), if it did."""
        if self.end == ARRIVED:
            return None
        met = f"the smallest separation met is {self.nearest:.3g} m"
        if self.end == ENERGY_LOST:
            return (
                f"the energy is wrong by {self.energy_error:.3g} of its initial value at time {time:g} s, "
                f"more than energy_tolerance={tolerance:g}; {met}"
            )
        if self.end == TOO_MANY_STEPS:
            return f"more than max_steps={max_steps} steps before time {time:g} s; {met}"
        return f"two bodies collide, or numbers are not finite, before time {time:g} s; {met}"
