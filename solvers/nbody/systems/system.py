"""The contract of a system of bodies, and the common options of all systems."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import numpy as np
from annotated_types import Ge, Gt

from simsurrogate.spec import Parameter
from simsurrogate.symmetries import ParticleMap
from solvers.contract import Parameters
from solvers.numerics.parameter_sampling import draw

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]


@dataclass(frozen=True)
class MassOptions:
    """The masses of the bodies.

    Attributes:
        total_mass: the sum of the masses of all bodies, kg.
        mass_ratio: the range of the relative masses of the bodies; equal ends give equal masses. For
            two_body: the range of the second mass divided by the first mass.
    """

    total_mass: Positive
    mass_ratio: tuple[Positive, Positive]


Options = TypeVar("Options", bound=MassOptions)


class System(ABC, Generic[Options]):
    """A family of initial states with the centre of mass at rest in the origin.

    Args:
        options: the options of the system.
        gravitational_constant: G, m^3/(kg s^2).
        softening: the softening length of Plummer, m.
        dimension: the number of dimensions: 2 for the plane, 3 for space.

    Attributes:
        least_dimension: the smallest number of dimensions of the system.
        num_bodies: the number of bodies n.
        parameters: the scalar parameters.
        length: the size of the system, m.
        parametric: whether the scalar parameters determine the initial state completely.
    """

    least_dimension: ClassVar[int] = 2
    num_bodies: int
    parameters: tuple[Parameter, ...] = ()
    length = 1.0
    parametric = False

    def __init__(self, options: Options, gravitational_constant: float, softening: float, dimension: int):
        self.options = options
        self.gravitational_constant = gravitational_constant
        self.softening = softening
        self.dimension = dimension

    def draw(self, rng: np.random.Generator, outside: bool) -> Parameters:
        """Draw the scalar parameters (inside or outside their ranges, see `draw`) and all arrays."""
        return {**draw(self.parameters, rng, outside), **self.draw_masses(rng), **self.draw_arrays(rng)}

    def draw_masses(self, rng: np.random.Generator) -> Parameters:
        """Draw the masses (kg) of the bodies as `masses` (n,); equal masses need no array."""
        low, high = self.options.mass_ratio
        if low == high:
            return {}
        relative_masses = rng.uniform(low, high, self.num_bodies)
        return {"masses": self.options.total_mass / np.sum(relative_masses) * relative_masses}

    def masses(self, parameters: Parameters) -> np.ndarray:
        """Return the masses (kg) of the bodies, (n,)."""
        if "masses" in parameters:
            masses: np.ndarray = parameters["masses"]
            return masses
        return np.full(self.num_bodies, self.options.total_mass / self.num_bodies)

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the other random numbers of the initial state, as arrays by name."""
        return {}

    @property
    def symmetries(self) -> tuple[ParticleMap, ...]:
        """The rotation, reflection and permutation under which the distribution is invariant."""
        return ()

    @abstractmethod
    def bodies(self, parameters: Parameters) -> np.ndarray:
        """Return the initial positions (m) and velocities (m/s), (6, n); planar systems have z = 0."""

    def initial_condition(
        self, parameters: Mapping[str, Any], xp: Any
    ) -> tuple[Sequence[Any], Sequence[Sequence[Any]]]:
        """Return the mass (kg) of each body, and the components of each body's state in the plane.

        The components are position x and y (m), velocity x and y (m/s). `xp` is numpy or torch, see
        `Solver.initial_condition`. Only `parametric` systems implement this method.
        """
        raise NotImplementedError


def to_centre_of_mass(bodies: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return the bodies (6, n) in the centre-of-mass frame."""
    shifted_bodies: np.ndarray = bodies - (bodies @ (mass / np.sum(mass)))[:, None]
    return shifted_bodies
