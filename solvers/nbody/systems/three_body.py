"""The system of three bodies that start at rest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from simsurrogate.errors import UserError
from simsurrogate.spec import Parameter
from solvers.contract import Parameters
from solvers.nbody.systems.system import MassOptions, System, to_centre_of_mass
from solvers.numerics.parameter_sampling import draw


@dataclass(frozen=True)
class ThreeBodyOptions(MassOptions):
    """The options of three bodies at rest."""

    kind: Literal["three_body"]


class ThreeBody(System[ThreeBodyOptions]):
    """Three bodies at rest, in the initial positions of Breen et al. (2020, doi:10.1093/mnras/staa713).

    The first body starts in (1, 0) m and is the farthest from the centre of mass. The second body starts in
    the upper left quadrant and is the nearest to the centre of mass. The mean of the three positions is
    the origin. All triangles have this form, up to size and orientation. For unequal masses all positions are
    shifted, and the centre of mass is the origin.
    """

    num_bodies = 3
    parameters = (
        Parameter("second_x", "m", "x of the second body at time 0", -0.5, 0.0),
        Parameter("second_y", "m", "y of the second body at time 0", 0.0, math.sqrt(0.75)),
    )

    def __init__(
        self, options: ThreeBodyOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.parametric = options.mass_ratio[0] == options.mass_ratio[1]

    def draw(self, rng: np.random.Generator, outside: bool) -> Parameters:
        """Draw the parameters, see `System.draw`; the second body is uniform in its region.

        Raises:
            UserError: with `outside`. Every triangle is a training triangle up to size and orientation.
        """
        if outside:
            raise UserError(
                "solver.system.kind=three_body has no trajectories outside the training range: its draws "
                "cover all triangles at rest, and a larger triangle only moves more slowly. "
                "samples.test_extrapolation must be 0. Type samples.test_extrapolation=0, and evaluate on a "
                "second data set with other masses, such as solver.system.mass_ratio=[0.5,1.0]"
            )
        parameters = super().draw(rng, outside)
        while (1 + parameters["second_x"]) ** 2 + parameters["second_y"] ** 2 > 1:
            parameters.update(draw(self.parameters, rng, outside))
        return parameters

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """Return the initial state (6, 3), see `System.bodies`."""
        x, y = parameters["second_x"], parameters["second_y"]
        bodies = np.zeros((6, 3))
        bodies[0] = 1.0, x, -1.0 - x
        bodies[1] = 0.0, y, -y
        return to_centre_of_mass(bodies, self.masses(parameters))

    def initial_condition(
        self, parameters: Mapping[str, Any], xp: Any
    ) -> tuple[Sequence[Any], Sequence[Sequence[Any]]]:
        """Return equal masses and states at rest, see `System.initial_condition`."""
        x, y = parameters["second_x"], parameters["second_y"]
        zero = 0 * x
        bodies = [(zero + 1, zero, zero, zero), (x, y, zero, zero), (-1 - x, -y, zero, zero)]
        return [zero + self.options.total_mass / 3] * 3, bodies
