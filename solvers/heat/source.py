"""The heat source of one trajectory: walls, blocks and heaters, piecewise constant in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Source:
    """The heat source s(x, t) in K/s on this rank's block.

    Attributes:
        constant: the constant supply of walls and blocks, K/s.
        has_constant: whether any wall or block of the box supplies heat; equal on all ranks.
        patterns: the heating rate of each active heater, K/s.
        active_intervals: the start and the end of the active interval of each heater, s.
    """

    constant: np.ndarray
    has_constant: bool
    patterns: list[np.ndarray]
    active_intervals: list[tuple[float, float]]

    def constant_intervals(self, time: float, duration: float) -> Iterator[tuple[float, np.ndarray | None]]:
        """Yield the intervals of constant source between `time` and `time + duration` (s), in order.

        Each interval is a pair of its length (s) and the source (K/s); the source is None without any supply
        of heat. All ranks yield the same lengths, and None for the same intervals.
        """
        end, tolerance = time + duration, 1e-12 * duration
        switch_times = {
            switch_time
            for interval in self.active_intervals
            for switch_time in interval
            if time + tolerance < switch_time < end - tolerance
        }
        interval_ends = [time, *sorted(switch_times), end]
        for start, stop in pairwise(interval_ends):
            midpoint = (start + stop) / 2
            active_patterns = [
                pattern
                for pattern, (switch_on, switch_off) in zip(self.patterns, self.active_intervals, strict=True)
                if switch_on <= midpoint < switch_off
            ]
            length = duration if len(interval_ends) == 2 else stop - start
            yield (
                length,
                sum(active_patterns, self.constant) if active_patterns or self.has_constant else None,
            )
