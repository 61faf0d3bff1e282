"""The system of three bodies near the figure-eight orbit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simsurrogate.spec import Parameter
from solvers.contract import Parameters
from solvers.nbody.systems.system import MassOptions, NonNegative, System, to_centre_of_mass


@dataclass(frozen=True)
class FigureEightOptions(MassOptions):
    """The options of the figure-eight orbit.

    Attributes:
        perturbation: the range of the standard deviation of each component from the orbit, in the units of
            length (1 m) and velocity of the orbit.
    """

    kind: Literal["figure_eight"]
    perturbation: tuple[NonNegative, NonNegative]


class FigureEight(System[FigureEightOptions]):
    """Three bodies near the figure-eight orbit of Chenciner & Montgomery (2000, arXiv:math/0011268).

    The initial values are those of Simo. The period of the orbit is 6.32591398 sqrt(3 m^3 / (G total_mass)).
    Each component of the initial state has a normally distributed perturbation.
    """

    num_bodies = 3

    def __init__(
        self, options: FigureEightOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.parameters = (
            Parameter("perturbation", "1", "deviation of the bodies from the orbit", *options.perturbation),
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw the deviations of positions and velocities for a perturbation of 1, (2 d, 3)."""
        return {"deviations": rng.standard_normal((2 * self.dimension, 3))}

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """Return the initial state (6, 3), see `System.bodies`."""
        speed = math.sqrt(self.gravitational_constant * self.options.total_mass / 3)
        x, y, vx, vy = 0.97000436, -0.24308753, 0.93240737, 0.86473146
        bodies = np.zeros((6, 3))
        bodies[0, :2], bodies[1, :2] = (x, -x), (y, -y)
        bodies[3] = vx / 2, vx / 2, -vx
        bodies[4] = vy / 2, vy / 2, -vy
        d = self.dimension
        deviations = parameters["perturbation"] * parameters["deviations"]
        bodies[:d] += deviations[:d]
        bodies[3 : 3 + d] += deviations[d:]
        bodies[3:] *= speed
        return to_centre_of_mass(bodies, self.masses(parameters))
