"""The contract of a time-stepping scheme for the heat equation of one trajectory."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class Scheme(ABC):
    """A scheme for du/dt = A u + s with a matrix A and a source s (K/s) that is constant over each step.

    Arrays are this rank's block. All ranks of the grid's communicator call each method together.
    """

    @abstractmethod
    def advance(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> np.ndarray:
        """Return the temperature (K) after `duration` (s); without a source `source` is None.

        Raises:
            DivergedError: the step cannot be computed.
        """

    @abstractmethod
    def heat_supplied(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> float:
        """Return the heat (K m^d) that walls and source supply to the box during `advance`.

        The heat follows from the walls and the source alone, in the scheme's own quadrature over time. The
        total heat changes by this amount to round-off.

        Raises:
            DivergedError: the step cannot be computed.
        """
