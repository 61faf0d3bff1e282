"""The contract of a family of initial vorticities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from simsurrogate.spec import Parameter
from simsurrogate.symmetries import CellMap
from solvers.contract import Parameters

#: The boundary conditions of both axes of the box.
PERIODIC_AXES = ("periodic", "periodic")


class InitialVorticity(ABC):
    """A family of initial vorticities w(x, 0) in 1/s; the solver removes the mean over the box.

    Attributes:
        parameters: the drawn scalars.
        parametric: whether the drawn scalars alone determine the vorticity.
        strain_rate: the largest expected root mean square of the vorticity, 1/s.
    """

    parameters: tuple[Parameter, ...]
    parametric = False
    strain_rate: float

    @abstractmethod
    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the arrays that determine the vorticity together with the scalars, by name."""

    @abstractmethod
    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the vorticity (1/s) on this rank's block."""

    @abstractmethod
    def is_invariant(self, cell_map: CellMap) -> bool:
        """Return whether the distribution is equal after a map between the cells."""

    def values_at(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any], xp: Any
    ) -> dict[str, Any]:
        """Return vorticity and velocity at any points, see `Solver.initial_condition`.

        A `parametric` family implements this method.
        """
        raise NotImplementedError

    def cautions(self) -> list[str]:
        """Return sentences on options that may not mean what a user expects, see `Solver.cautions`."""
        return []


def amplitude_parameter(description: str, bounds: tuple[float, float]) -> tuple[Parameter, ...]:
    """Return the scalar parameter `amplitude` of a family, with its range `bounds` in 1/s."""
    return (Parameter("amplitude", "s^-1", description, *bounds),)
