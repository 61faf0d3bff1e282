"""The forcing of the vorticity as the solver uses it, and no forcing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.spec import Field, Parameter
from solvers.contract import Parameters


class Forcing(ABC):
    """f (s^-2) on the right side of the vorticity equation.

    Attributes:
        parameters: the drawn scalars.
        fields: the coefficient field of a steady forcing; empty for every other forcing.
        parametric: the drawn scalars alone determine the forcing.
        autonomous: the forcing does not depend on time.
        strain_rate: the largest rate at which the forcing is expected to strain the flow, 1/s.
    """

    parameters: tuple[Parameter, ...] = ()
    fields: tuple[Field, ...] = ()
    parametric = True
    autonomous = True
    strain_rate = 0.0

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Return the drawn arrays that determine the forcing together with the scalars, by name."""
        return {}

    def field(self, parameters: Parameters) -> np.ndarray | None:
        """Return a steady forcing on this rank's block (s^-2); None for every other forcing."""
        return None

    @abstractmethod
    def constant_intervals(
        self, steady: np.ndarray, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Yield the intervals from `time` to `time + duration` (s) in which f is constant.

        Each has its length (s) and the coefficients of f (*slabs.shape), not normalised. `steady` holds the
        coefficients of `field`, or zeros.
        """


@dataclass(frozen=True)
class UnforcedOptions:
    """No forcing."""

    kind: Literal["none"]


class Unforced(Forcing):
    """No forcing."""

    def constant_intervals(
        self, steady: np.ndarray, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Yield one interval without forcing, see `Forcing.constant_intervals`."""
        yield duration, steady
