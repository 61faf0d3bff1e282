"""The system of a Plummer sphere in equilibrium."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.spec import Parameter
from solvers.contract import Parameters
from solvers.nbody.systems.sphere import Sphere, SphereOptions, draw_directions
from solvers.nbody.systems.system import to_centre_of_mass


@dataclass(frozen=True)
class PlummerOptions(SphereOptions):
    """The options of a Plummer sphere."""

    kind: Literal["plummer"]


class Plummer(Sphere[PlummerOptions]):
    """Bodies of a Plummer sphere in equilibrium (Aarseth, Henon & Wielen 1974, A&A 37, 183).

    In the standard units of Henon, G, total_mass and radius are 1. The bodies sample the innermost 99.9 % of
    the mass.
    """

    def __init__(
        self, options: PlummerOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.parameters = (
            Parameter(
                "virial_radius",
                "m",
                "G M^2 over twice the potential energy",
                *options.radius,
            ),
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw positions (in virial radii) and velocities (in sqrt(G M / virial radius)), (3, n) each."""
        n = self.num_bodies
        scale = 3 * np.pi / 16  # the Plummer radius divided by the virial radius
        r = 1 / np.sqrt(rng.uniform(0.0, 0.999, n) ** (-2 / 3) - 1)
        escape_speed = math.sqrt(2) * (1 + r * r) ** -0.25
        return {
            "positions": scale * r * draw_directions(rng, n),
            "velocities": escape_speed * _draw_speeds(rng, n) / math.sqrt(scale) * draw_directions(rng, n),
        }

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """Return the initial state (6, n), see `System.bodies`."""
        radius = parameters["virial_radius"]
        speed = math.sqrt(self.gravitational_constant * self.options.total_mass / radius)
        bodies = np.vstack([radius * parameters["positions"], speed * parameters["velocities"]])
        return to_centre_of_mass(bodies, self.masses(parameters))


def _draw_speeds(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw speeds q, relative to the escape speed, from the density q^2 (1 - q^2)^(7/2) by rejection."""
    speeds = np.empty(0)
    while speeds.size < count:
        q, height = rng.random(2 * count), rng.uniform(0.0, 0.1, 2 * count)
        speeds = np.append(speeds, q[height < q**2 * (1 - q**2) ** 3.5])
    return speeds[:count]
