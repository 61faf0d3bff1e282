"""The system of a uniform sphere that collapses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.spec import Parameter
from solvers.contract import Parameters
from solvers.nbody.diagnostics import pair_sums
from solvers.nbody.systems.sphere import Sphere, SphereOptions, draw_directions
from solvers.nbody.systems.system import NonNegative, to_centre_of_mass


@dataclass(frozen=True)
class ColdCollapseOptions(SphereOptions):
    """The options of a uniform sphere.

    Attributes:
        virial_ratio: the range of the kinetic energy divided by the magnitude of the potential energy; 0.5
            is virial equilibrium, 0 is rest.
    """

    kind: Literal["cold_collapse"]
    virial_ratio: tuple[NonNegative, NonNegative]


class ColdCollapse(Sphere[ColdCollapseOptions]):
    """Bodies with uniform positions in a sphere and normally distributed velocities.

    The kinetic energy is `virial_ratio` times the magnitude of the potential energy.
    """

    def __init__(
        self, options: ColdCollapseOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.parameters = (
            Parameter("sphere_radius", "m", "radius of the sphere at time 0", *options.radius),
            Parameter(
                "virial_ratio",
                "1",
                "kinetic over potential energy at time 0",
                *options.virial_ratio,
            ),
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw positions (in radii of the sphere) and velocities (up to a factor), (3, n) each."""
        n = self.num_bodies
        return {
            "positions": np.cbrt(rng.random(n)) * draw_directions(rng, n),
            "velocities": rng.standard_normal((3, n)),
        }

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """Return the initial state (6, n), see `System.bodies`."""
        mass = self.masses(parameters)
        bodies = np.vstack([
            parameters["sphere_radius"] * parameters["positions"],
            parameters["velocities"],
        ])  # fmt: skip
        bodies = to_centre_of_mass(bodies, mass)
        kinetic = 0.5 * float(np.sum(mass * bodies[3:] ** 2))
        potential, _ = pair_sums(bodies, mass, self.gravitational_constant * mass, self.softening**2, 0, 1)
        bodies[3:] *= math.sqrt(parameters["virial_ratio"] * -potential / kinetic)
        return bodies
