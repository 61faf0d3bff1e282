"""The system of two bodies on a Kepler orbit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Lt

from simsurrogate.errors import UserError
from simsurrogate.spec import Parameter
from simsurrogate.symmetries import ParticleMap
from solvers.contract import Parameters
from solvers.nbody.systems.system import MassOptions, Positive, System

#: The largest relative change of the force at the smallest periapsis by softening.
MAX_FORCE_ERROR = 0.01

Eccentricity = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True)
class TwoBodyOptions(MassOptions):
    """The options of a Kepler orbit.

    Attributes:
        radius: the range of the semi-major axis, m.
        eccentricity: the range of the eccentricity.
        orientation: `random` or `fixed`. With `fixed` the second body starts at periapsis on the x axis, and
            moves along y.
    """

    kind: Literal["two_body"]
    radius: tuple[Positive, Positive]
    eccentricity: tuple[Eccentricity, Eccentricity]
    orientation: Literal["random", "fixed"]


class TwoBody(System[TwoBodyOptions]):
    """Two bodies on a Kepler orbit of random size, eccentricity and mass ratio.

    Phase and orientation are fixed or uniformly random. In space the random orientation includes the plane of
    the orbit.
    """

    num_bodies = 2

    def __init__(
        self, options: TwoBodyOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        periapsis = options.radius[0] * (1 - options.eccentricity[1])
        force_error = 1.5 * (softening / periapsis) ** 2
        if force_error > MAX_FORCE_ERROR:
            least_softening = periapsis * math.sqrt(MAX_FORCE_ERROR / 1.5)
            raise UserError(
                f"solver.softening={softening:g} m changes the force of two_body at the smallest periapsis "
                f"{periapsis:.3g} m by about {100 * force_error:.2g} %. These are no Kepler orbits: "
                f"semi-major axis and eccentricity have no meaning. At most {100 * MAX_FORCE_ERROR:g} % is "
                f"allowed. Type solver.softening=0, or at most {0.999 * least_softening:.3g}"
            )
        self.length = sum(options.radius) / 2
        self.parametric = options.orientation == "fixed"
        self.parameters = (
            Parameter("semi_major_axis", "m", "semi-major axis of the relative orbit", *options.radius),
            Parameter("eccentricity", "1", "eccentricity of the orbit", *options.eccentricity),
            Parameter(
                "mass_ratio",
                "1",
                "mass of the second body divided by the first",
                *options.mass_ratio,
            ),
        )

    @property
    def symmetries(self) -> tuple[ParticleMap, ...]:
        """The symmetries of orbits of random orientation, see `System.symmetries`.

        In the plane all orbits are counter-clockwise. In space a reflected orbit is a rotated orbit. Bodies
        of equal masses are on opposite sides of the centre, so their permutation is a rotation of the orbit.
        """
        if self.parametric:
            return ()
        symmetries = [ParticleMap("rotation")]
        if self.dimension == 3:
            symmetries.append(ParticleMap("reflection"))
        if self.options.mass_ratio == (1.0, 1.0):
            symmetries.append(ParticleMap("permutation"))
        return tuple(symmetries)

    def draw(self, rng: np.random.Generator, outside: bool) -> Parameters:
        """Draw the parameters, see `System.draw`; an eccentricity above its range is smaller than 1."""
        parameters = super().draw(rng, outside)
        if parameters["eccentricity"] >= 1:
            high = self.options.eccentricity[1]
            parameters["eccentricity"] = float(high + (1 - high) * rng.uniform(0.05, 0.9))
        return parameters

    def draw_masses(self, rng: np.random.Generator) -> Parameters:
        """Draw no arrays, because the mass ratio is a scalar parameter."""
        return {}

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Draw mean anomaly, argument of periapsis, inclination and longitude of the ascending node, rad.

        A fixed orientation needs no array. In the plane the last two angles are zero.
        """
        if self.parametric:
            return {}
        angles = rng.uniform(0.0, 2 * np.pi, 4)
        angles[2] = math.acos(1 - angles[2] / np.pi)
        if self.dimension == 2:
            angles[2:] = 0.0
        return {"orbital_angles": angles}

    def masses(self, parameters: Parameters) -> np.ndarray:
        """Return the masses (kg) of both bodies, (2,)."""
        ratio: float = parameters["mass_ratio"]
        return self.options.total_mass / (1 + ratio) * np.array([1.0, ratio])

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """Return the initial state (6, 2) from Kepler's equation M = E - e sin E, see `System.bodies`."""
        a, e = parameters["semi_major_axis"], parameters["eccentricity"]
        mean_anomaly, periapsis, inclination, node = parameters.get("orbital_angles", (0.0,) * 4)
        anomaly = _eccentric_anomaly(mean_anomaly, e)
        mean_motion = math.sqrt(self.gravitational_constant * self.options.total_mass / a**3)
        axis_ratio = math.sqrt(1 - e * e)
        speed = a * mean_motion / (1 - e * math.cos(anomaly))
        along_periapsis = np.array([a * (math.cos(anomaly) - e), -speed * math.sin(anomaly)])
        across_periapsis = axis_ratio * np.array([a * math.sin(anomaly), speed * math.cos(anomaly)])
        cos_w, sin_w = math.cos(periapsis), math.sin(periapsis)
        u, v = (
            cos_w * along_periapsis - sin_w * across_periapsis,
            sin_w * along_periapsis + cos_w * across_periapsis,
        )
        cos_n, sin_n, cos_i = math.cos(node), math.sin(node), math.cos(inclination)
        relative_state = np.array([
            cos_n * u - sin_n * cos_i * v,
            sin_n * u + cos_n * cos_i * v,
            math.sin(inclination) * v,
        ]).T.ravel()  # fmt: skip
        ratio = parameters["mass_ratio"]
        return np.outer(relative_state, np.array([-ratio, 1.0]) / (1 + ratio))

    def initial_condition(
        self, parameters: Mapping[str, Any], xp: Any
    ) -> tuple[Sequence[Any], Sequence[Sequence[Any]]]:
        """Return masses and states at periapsis, see `System.initial_condition`.

        The distance of the bodies is a (1 - e). The relative speed is sqrt(G M (1 + e) / (a (1 - e))).
        """
        distance = parameters["semi_major_axis"] * (1 - parameters["eccentricity"])
        gravitational_parameter = self.gravitational_constant * self.options.total_mass
        speed = xp.sqrt(gravitational_parameter * (1 + parameters["eccentricity"]) / distance)
        ratio = parameters["mass_ratio"]
        signed_shares = (-ratio / (1 + ratio), 1 / (1 + ratio))
        mass = self.options.total_mass
        return (
            [mass * signed_shares[1], -mass * signed_shares[0]],
            [(share * distance, 0 * distance, 0 * distance, share * speed) for share in signed_shares],
        )


def _eccentric_anomaly(mean_anomaly: float, eccentricity: float) -> float:
    """Return E of Kepler's equation M = E - e sin E, by Newton's iteration."""
    mean_anomaly = math.remainder(mean_anomaly, 2 * math.pi)
    anomaly = math.copysign(math.pi, mean_anomaly) if eccentricity > 0.8 else mean_anomaly
    for _ in range(50):
        error = anomaly - eccentricity * math.sin(anomaly) - mean_anomaly
        anomaly -= error / (1 - eccentricity * math.cos(anomaly))
        if abs(error) < 1e-15:
            break
    return anomaly
