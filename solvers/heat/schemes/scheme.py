"""The contract of a time-stepping scheme for the heat equation of one trajectory."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class Scheme(ABC):
    """Steps du/dt = A u + s with a matrix A and a source s (K/s) that are constant over the step.

    Arrays are this rank's block; every rank of the grid's communicator calls together.
    """

    @abstractmethod
    def advance(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> np.ndarray:
        """The temperature (K) after `duration` (s); no source is None.

        Raises:
            DivergedError: the step cannot be made.
        """

    @abstractmethod
    def heat_supplied(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> float:
        """The heat (K m^d) that walls and source supply over the whole box while `advance` steps.

        Found from the walls and the source alone, in the scheme's own quadrature over time: the total
        heat changes by this to round-off.
        """
