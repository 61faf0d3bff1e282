"""A family of initial vorticities as the solver uses it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from simsurrogate.spec import Parameter
from solvers.contract import Parameters

#: Both axes of the box are periodic.
PERIODIC = ("periodic", "periodic")


class InitialVorticity(ABC):
    """A family of vorticities w(x, 0) in 1/s; the solver removes their mean over the box.

    Attributes:
        parameters: the drawn scalars.
        parametric: the drawn scalars alone determine the vorticity.
        strain_rate: the largest expected root mean square of the vorticity, 1/s.
    """

    parameters: tuple[Parameter, ...]
    parametric = False
    strain_rate: float

    @abstractmethod
    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Return the drawn arrays that determine the vorticity together with the scalars, by name."""

    @abstractmethod
    def field(self, parameters: Parameters) -> np.ndarray:
        """Return the vorticity on this rank's block, 1/s."""


def amplitude_parameter(meaning: str, bounds: tuple[float, float]) -> tuple[Parameter, ...]:
    """Return the only scalar of most families, with its description and its range in 1/s."""
    return (Parameter("amplitude", "s^-1", meaning, *bounds),)
