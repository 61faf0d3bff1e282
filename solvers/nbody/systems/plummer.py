"""A Plummer sphere in equilibrium."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.spec import Parameter
from solvers.contract import Parameters
from solvers.nbody.systems.sphere import Sphere, SphereOptions, random_directions
from solvers.nbody.systems.system import centred


@dataclass(frozen=True)
class PlummerOptions(SphereOptions):
    """The options of a Plummer sphere."""

    kind: Literal["plummer"]


class Plummer(Sphere[PlummerOptions]):
    """Bodies of a Plummer sphere in equilibrium, drawn by Aarseth, Henon & Wielen (1974, A&A 37, 183).

    In Henon's standard units G, total_mass and radius are 1. The innermost 99.9 % of the mass are drawn.
    """

    def __init__(
        self, options: PlummerOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.parameters = (
            Parameter("virial_radius", "m", "G M^2 over twice the potential energy", *options.radius),
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw positions, in virial radii, and velocities, in sqrt(G M / virial radius), (3, n) each."""
        n = self.num_bodies
        scale = 3 * np.pi / 16  # Plummer's radius divided by the virial radius.
        r = 1 / np.sqrt(rng.uniform(0.0, 0.999, n) ** (-2 / 3) - 1)
        escape = math.sqrt(2) * (1 + r * r) ** -0.25
        return {
            "positions": scale * r * random_directions(rng, n),
            "velocities": escape * _speeds(rng, n) / math.sqrt(scale) * random_directions(rng, n),
        }

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """Return the initial state (6, n), see `System.bodies`."""
        radius = parameters["virial_radius"]
        speed = math.sqrt(self.gravitational_constant * self.options.total_mass / radius)
        bodies = np.vstack([radius * parameters["positions"], speed * parameters["velocities"]])
        return centred(bodies, self.masses(parameters))


def _speeds(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw speeds, as fractions q of the escape speed, of density q^2 (1 - q^2)^(7/2), by rejection."""
    accepted = np.empty(0)
    while accepted.size < count:
        q, height = rng.random(2 * count), rng.uniform(0.0, 0.1, 2 * count)
        accepted = np.append(accepted, q[height < q**2 * (1 - q**2) ** 3.5])
    return accepted[:count]
