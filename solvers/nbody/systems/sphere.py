"""The options and the base class of spherical systems, and random directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np
from annotated_types import Ge

from simsurrogate.symmetries import ParticleMap
from solvers.nbody.systems.system import MassOptions, Positive, System


@dataclass(frozen=True)
class SphereOptions(MassOptions):
    """The options of a spherical system.

    Attributes:
        num_bodies: the number of bodies.
        radius: the range of the virial radius (plummer) or of the sphere radius (cold_collapse), m.
    """

    num_bodies: Annotated[int, Ge(2)]
    radius: tuple[Positive, Positive]


Options = TypeVar("Options", bound=SphereOptions)


class Sphere(System[Options]):
    """A system of any number of bodies in a sphere, see `System`."""

    least_dimension = 3

    def __init__(self, options: Options, gravitational_constant: float, softening: float, dimension: int):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.num_bodies = options.num_bodies
        self.length = sum(options.radius) / 2

    @property
    def symmetries(self) -> tuple[ParticleMap, ...]:
        """All of them: directions are uniform, and all bodies have the same distribution, see `System`."""
        return ParticleMap("rotation"), ParticleMap("reflection"), ParticleMap("permutation")


def draw_directions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw unit vectors (3, count) with uniform directions."""
    vectors: np.ndarray = rng.standard_normal((3, count))
    vectors /= np.sqrt(np.sum(vectors**2, axis=0))
    return vectors
