"""Options and random vectors of spherical systems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from solvers.nbody.systems.system import MassOptions, Positive


@dataclass(frozen=True)
class SphereOptions(MassOptions):
    """The options of a spherical system.

    Attributes:
        num_bodies: the number of bodies.
        radius: the range of the virial radius (plummer) or of the radius of the sphere (cold_collapse), m.
    """

    num_bodies: Annotated[int, Ge(2)]
    radius: tuple[Positive, Positive]


def random_directions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw unit vectors (3, count), uniform over all directions."""
    vectors: np.ndarray = rng.standard_normal((3, count))
    vectors /= np.sqrt(np.sum(vectors**2, axis=0))
    return vectors
