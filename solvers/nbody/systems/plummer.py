"""The system of a Plummer sphere in equilibrium."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import Parameter
from solvers.contract import Parameters
from solvers.nbody.diagnostics import pair_sums
from solvers.nbody.systems.sphere import Sphere, SphereOptions, draw_directions
from solvers.nbody.systems.system import to_centre_of_mass

#: The Plummer radius divided by the virial radius.
SCALE = 3 * np.pi / 16

#: The number of bodies of the sample that measures the effect of softening.
SAMPLE_SIZE = 500

#: The largest share of the potential energy that softening may remove.
MAX_LOST_SHARE = 0.1


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
        self._check_equilibrium(options.radius[0])
        self.parameters = (
            Parameter(
                "virial_radius",
                "m",
                "G M^2 over twice the potential energy",
                *options.radius,
            ),
        )

    def _check_equilibrium(self, virial_radius: float) -> None:
        """Check that softening hardly changes the potential energy, which the velocities balance.

        Raises:
            UserError: a softened sphere of the smallest radius is not in equilibrium.
        """
        relative_softening = self.softening / virial_radius
        rng = np.random.default_rng(0)
        positions = SCALE * _draw_radii(rng, SAMPLE_SIZE) * draw_directions(rng, SAMPLE_SIZE)
        bodies = np.vstack([positions, np.zeros_like(positions)])
        mass = np.full(SAMPLE_SIZE, 1 / SAMPLE_SIZE)
        energies = [pair_sums(bodies, mass, mass, length**2, 0, 1)[0] for length in (0.0, relative_softening)]
        lost_share = 1 - energies[1] / energies[0]
        if lost_share > MAX_LOST_SHARE:
            raise UserError(
                f"solver.softening={self.softening:g} m lowers the potential energy of a plummer sphere of "
                f"virial radius {virial_radius:g} m by {100 * lost_share:.0f} %, so the sphere is not in "
                f"equilibrium and expands. At most {100 * MAX_LOST_SHARE:g} % is allowed. Type a smaller "
                "solver.softening, or system.kind=cold_collapse for a sphere out of equilibrium"
            )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw positions (in virial radii) and velocities (in sqrt(G M / virial radius)), (3, n) each."""
        n = self.num_bodies
        r = _draw_radii(rng, n)
        escape_speed = math.sqrt(2) * (1 + r * r) ** -0.25
        return {
            "positions": SCALE * r * draw_directions(rng, n),
            "velocities": escape_speed * _draw_speeds(rng, n) / math.sqrt(SCALE) * draw_directions(rng, n),
        }

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """Return the initial state (6, n), see `System.bodies`."""
        radius = parameters["virial_radius"]
        speed = math.sqrt(self.gravitational_constant * self.options.total_mass / radius)
        bodies = np.vstack([radius * parameters["positions"], speed * parameters["velocities"]])
        return to_centre_of_mass(bodies, self.masses(parameters))


def _draw_radii(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw distances from the centre, in Plummer radii."""
    radii: np.ndarray = 1 / np.sqrt(rng.uniform(0.0, 0.999, count) ** (-2 / 3) - 1)
    return radii


def _draw_speeds(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw speeds q, relative to the escape speed, from the density q^2 (1 - q^2)^(7/2) by rejection."""
    speeds = np.empty(0)
    while speeds.size < count:
        q, height = rng.random(2 * count), rng.uniform(0.0, 0.1, 2 * count)
        speeds = np.append(speeds, q[height < q**2 * (1 - q**2) ** 3.5])
    return speeds[:count]
