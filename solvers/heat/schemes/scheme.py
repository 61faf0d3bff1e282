"""The contract of a time-stepping scheme for the heat equation of one trajectory."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from solvers.contract import DivergedError

#: The shortest step of the error control, relative to the stable step of Euler. The relative error of the
#: first step tau is about (tau rho)^2 / 10, and is below round-off for much longer steps.
_LEAST_STEP = 1e-6


class Scheme(ABC):
    """A scheme for du/dt = A u + s with a matrix A and a source s (K/s) that is constant over each step.

    Arrays hold this rank's block. All ranks of the grid's communicator call each method together.
    """

    @abstractmethod
    def advance(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> np.ndarray:
        """Return the temperature (K) after `duration` (s); None is a source of 0 K/s.

        Raises:
            DivergedError: the step cannot be computed.
        """

    @abstractmethod
    def heat_supplied(self, temperature: np.ndarray, source: np.ndarray | None, duration: float) -> float:
        """Return the heat (K m^d) that walls and source supply to the box during `advance`.

        The heat follows from the walls and the source alone, by the quadrature of the scheme over time. The
        total heat of the box changes by this amount, up to round-off.

        Raises:
            DivergedError: the step cannot be computed.
        """


def check_shorter_step(
    shorter_step: float, rejected_step: float, error_ratio: float, tolerance: float, spectral_bound: float
) -> None:
    """Check that a rejected step may be repeated with a shorter step.

    Args:
        shorter_step: the shorter step, s.
        rejected_step: the rejected step, s.
        error_ratio: the error of the rejected step divided by the allowed error.
        tolerance: the tolerance of the error control.
        spectral_bound: an upper bound of the spectral radius of A, 1/s.

    Raises:
        DivergedError: the shorter step is shorter than the shortest allowed step.
    """
    shortest_step = _LEAST_STEP * 2 / spectral_bound
    if shorter_step < shortest_step:
        raise DivergedError(
            f"the error of a step of {rejected_step:.3g} s is {error_ratio:.3g} times the tolerance "
            f"{tolerance:g}. The shortest allowed step is {shortest_step:.3g} s, {_LEAST_STEP:g} of the "
            "stable step of Euler"
        )
