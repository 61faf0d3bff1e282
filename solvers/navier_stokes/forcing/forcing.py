"""The contract of a forcing of the vorticity, and the absence of forcing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.spec import Field, Parameter
from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters


class Forcing(ABC):
    """The forcing f (s^-2) on the right side of the vorticity equation.

    Attributes:
        parameters: the drawn scalars.
        fields: the coefficient field of a steady forcing; empty for every other forcing.
        parametric: whether the drawn scalars alone determine the forcing.
        autonomous: whether the forcing does not depend on time.
        deterministic: whether the drawn scalars, `fields` and the time determine the forcing.
        strain_rate: the largest expected strain rate of the flow from the forcing, 1/s.
    """

    parameters: tuple[Parameter, ...] = ()
    fields: tuple[Field, ...] = ()
    parametric = True
    autonomous = True
    deterministic = True
    strain_rate = 0.0

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the arrays that determine the forcing together with the scalars, by name."""
        return {}

    def field(self, parameters: Parameters) -> np.ndarray | None:
        """Return a steady forcing (s^-2) on this rank's block, or None for any other forcing."""
        return None

    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the forcing is equal after a map between the cells."""
        return True

    @abstractmethod
    def constant_intervals(
        self, steady_coefficients: np.ndarray, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Yield the intervals of constant f between `time` and `time + duration` (s), in order.

        Each interval is a pair of its length (s) and the coefficients of f (*slabs.shape), without
        normalisation. `steady_coefficients` holds the coefficients of `field`, or zeros.
        """


@dataclass(frozen=True)
class UnforcedOptions:
    """No forcing."""

    kind: Literal["none"]


class Unforced(Forcing):
    """No forcing."""

    def constant_intervals(
        self, steady_coefficients: np.ndarray, parameters: Parameters, time: float, duration: float
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Yield a single interval without forcing, see `Forcing.constant_intervals`."""
        yield duration, steady_coefficients
