"""The accuracy of a solver: its estimated error, and settings with other errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from solvers.contract import Solver


@dataclass(frozen=True)
class DiscretisationError:
    """The estimated error of the last frame of a trajectory, relative to the norm of the exact solution.

    Attributes:
        grid: the error due to the grid.
        time: the error due to the steps in time.
    """

    grid: float
    time: float

    @property
    def total(self) -> float:
        """The sum of both errors."""
        return self.grid + self.time


@dataclass(frozen=True)
class Setting:
    """A solver with other settings on one rank, for the comparison of a surrogate with its solver.

    Attributes:
        name: the settings in words, for a table.
        solver: the solver, with the parameters of the original solver.
        to_sites: the map from a state of `solver` (C, *sites) to the sites of the original solver.
    """

    name: str
    solver: Solver
    to_sites: Callable[[np.ndarray], np.ndarray] = lambda state: state
