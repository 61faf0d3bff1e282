"""The contract of a time-stepping scheme for the heat equation of one trajectory."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from solvers.contract import DivergedError

#: The shortest step of the error control, as a share of the stable step of Euler. The relative error of a
#: step tau from rest is about (tau rho)^2 / 10, which is below round-off for much longer steps than this.
_LEAST_STEP = 1e-6


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


def check_shorter_step(
    shorter: float, refused: float, excess: float, tolerance: float, spectral_bound: float
) -> None:
    """Check that a refused step may be tried again with a shorter step.

    Args:
        shorter: the shorter step, s.
        refused: the refused step, s.
        excess: the error of the refused step over the allowed error.
        tolerance: the tolerance of the error control.
        spectral_bound: the bound on the spectrum of A, 1/s.

    Raises:
        DivergedError: the shorter step is below the shortest step of the error control.
    """
    shortest = _LEAST_STEP * 2 / spectral_bound
    if shorter < shortest:
        raise DivergedError(
            f"the error of a step of {refused:.3g} s is {excess:.3g} times the tolerance {tolerance:g}, and "
            f"steps below {shortest:.3g} s, {_LEAST_STEP:g} of the stable step of Euler, are not tried"
        )
