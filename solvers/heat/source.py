"""The source of heat of one trajectory: walls and heaters, constant between the times of switching."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Source:
    """s(x, t) in K/s on this rank's block.

    Attributes:
        wall_supply: the constant supply of the walls, K/s.
        walls_supply: whether any wall of the box supplies heat; equal on all ranks.
        patterns: the heating rate of each heater while it is on, K/s.
        on_times: the times at which each heater is switched on and off, s.
    """

    wall_supply: np.ndarray
    walls_supply: bool
    patterns: list[np.ndarray]
    on_times: list[tuple[float, float]]

    def constant_intervals(self, time: float, duration: float) -> Iterator[tuple[float, np.ndarray | None]]:
        """Yield the intervals of constant source between `time` and `time + duration` (s), in order.

        An interval is its length (s) and the source (K/s), None where nothing supplies heat. All ranks get
        the same lengths, and None together.
        """
        end, tolerance = time + duration, 1e-12 * duration
        switches = {
            moment for span in self.on_times for moment in span if time + tolerance < moment < end - tolerance
        }
        cuts = [time, *sorted(switches), end]
        for start, stop in pairwise(cuts):
            middle = (start + stop) / 2
            active = [
                pattern
                for pattern, (on, off) in zip(self.patterns, self.on_times, strict=True)
                if on <= middle < off
            ]
            length = duration if len(cuts) == 2 else stop - start
            yield length, sum(active, self.wall_supply) if active or self.walls_supply else None
