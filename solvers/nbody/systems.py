"""The systems of bodies: how the initial state of a trajectory is drawn."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from simsurrogate.spec import Parameter
from solvers.contract import Parameters
from solvers.nbody.diagnostics import pairs
from solvers.nbody.options import SystemOptions
from solvers.numerics.parameter_sampling import draw


class System(ABC):
    """A family of initial states. Positions (m) and velocities (m/s) are `bodies` (6, n), the planar systems
    in z = 0, the centre of mass at rest in the origin.

    Attributes:
        num_bodies: n.
        parameters: the scalars that are drawn.
        parametric: nothing else is drawn.
    """

    parametric = False
    #: The least dimension in which there is such a system.
    least_dimension: ClassVar[int] = 2
    num_bodies: int
    parameters: tuple[Parameter, ...] = ()

    def __init__(
        self, options: SystemOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        self.options = options
        self.gravitational_constant = gravitational_constant
        self.softening = softening
        self.dimension = dimension

    def draw(self, rng: np.random.Generator, outside: bool) -> Parameters:
        """The scalars, inside or outside their ranges, and all arrays."""
        return {**draw(self.parameters, rng, outside), **self.draw_masses(rng), **self.draw_arrays(rng)}

    def draw_masses(self, rng: np.random.Generator) -> Parameters:
        """The masses (kg) of the bodies, as `masses` (n,), where they are not equal."""
        low, high = self.options.mass_ratio
        if low == high:
            return {}
        shares = rng.uniform(low, high, self.num_bodies)
        return {"masses": self.options.total_mass / np.sum(shares) * shares}

    def masses(self, parameters: Parameters) -> np.ndarray:
        """The masses of the bodies, kg (n,)."""
        if "masses" in parameters:
            given: np.ndarray = parameters["masses"]
            return given
        return np.full(self.num_bodies, self.options.total_mass / self.num_bodies)

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Whatever else determines the initial state, by name."""
        return {}

    @abstractmethod
    def bodies(self, parameters: Parameters) -> np.ndarray:
        """The initial positions and velocities, (6, n)."""

    def at(self, parameters: Mapping[str, Any], xp: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        """Masses, and components x, y, velocity_x, velocity_y, of each body in turn, where the system is
        `parametric`: what `masses` and `bodies` give, see `Solver.initial_condition`.
        """
        raise NotImplementedError


class TwoBody(System):
    """Two bodies on a Kepler orbit: semi-major axis from `radius`, eccentricity, mass ratio; phase and
    orientation with equal chance (in space the orbit's plane too), or fixed: see `SystemOptions`.
    """

    num_bodies = 2

    def __init__(
        self, options: SystemOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.parametric = options.orientation == "fixed"
        self.parameters = (
            Parameter("semi_major_axis", "m", "semi-major axis of the relative orbit", *options.radius),
            Parameter("eccentricity", "1", "eccentricity of the orbit", *options.eccentricity),
            Parameter("mass_ratio", "1", "mass of the second body over the first's", *options.mass_ratio),
        )

    def draw(self, rng: np.random.Generator, outside: bool) -> Parameters:
        """See `System.draw`; an eccentricity outside its range lies between that and 1."""
        drawn = super().draw(rng, outside)
        if drawn["eccentricity"] >= 1:
            high = self.options.eccentricity[1]
            drawn["eccentricity"] = float(high + (1 - high) * rng.uniform(0.05, 0.9))
        return drawn

    def draw_masses(self, rng: np.random.Generator) -> Parameters:
        """None: the mass ratio is a parameter."""
        return {}

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Mean anomaly, argument of periapsis, inclination and longitude of the ascending node, rad, unless
        they are all zero.
        """
        if self.parametric:
            return {}
        angles = rng.uniform(0.0, 2 * np.pi, 4)
        angles[2] = math.acos(1 - angles[2] / np.pi)
        if self.dimension == 2:
            angles[2:] = 0.0
        return {"orbital_angles": angles}

    def masses(self, parameters: Parameters) -> np.ndarray:
        """See `System.masses`."""
        ratio: float = parameters["mass_ratio"]
        return self.options.total_mass / (1 + ratio) * np.array([1.0, ratio])

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """See `System.bodies`: from Kepler's equation M = E - e sin E."""
        a, e = parameters["semi_major_axis"], parameters["eccentricity"]
        mean_anomaly, periapsis, inclination, node = parameters.get("orbital_angles", (0.0,) * 4)
        anomaly = _eccentric_anomaly(mean_anomaly, e)
        mean_motion = math.sqrt(self.gravitational_constant * self.options.total_mass / a**3)
        minor = math.sqrt(1 - e * e)
        speed = a * mean_motion / (1 - e * math.cos(anomaly))
        along = np.array([a * (math.cos(anomaly) - e), -speed * math.sin(anomaly)])
        across = minor * np.array([a * math.sin(anomaly), speed * math.cos(anomaly)])
        cos_w, sin_w = math.cos(periapsis), math.sin(periapsis)
        u, v = cos_w * along - sin_w * across, sin_w * along + cos_w * across
        cos_n, sin_n, cos_i = math.cos(node), math.sin(node), math.cos(inclination)
        relative = np.array([
            cos_n * u - sin_n * cos_i * v,
            sin_n * u + cos_n * cos_i * v,
            math.sin(inclination) * v,
        ]).T.ravel()  # fmt: skip
        ratio = parameters["mass_ratio"]
        return np.outer(relative, np.array([-ratio, 1.0]) / (1 + ratio))

    def at(self, parameters: Mapping[str, Any], xp: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        """See `System.at`: at periapsis the bodies are a (1 - e) apart and move across, at
        sqrt(G M (1 + e) / (a (1 - e))).
        """
        apart = parameters["semi_major_axis"] * (1 - parameters["eccentricity"])
        constant = self.gravitational_constant * self.options.total_mass
        speed = xp.sqrt(constant * (1 + parameters["eccentricity"]) / apart)
        ratio = parameters["mass_ratio"]
        shares = (-ratio / (1 + ratio), 1 / (1 + ratio))
        mass = self.options.total_mass
        return (
            [mass * shares[1], -mass * shares[0]],
            [(share * apart, 0 * apart, 0 * apart, share * speed) for share in shares],
        )


class ThreeBody(System):
    """Three bodies from rest, as Breen et al. (2020, doi:10.1093/mnras/staa713) draw them: the first in
    (1, 0), the second anywhere in the upper left where it is nearest to the centre of mass and the first is
    farthest from it, the third where the mean of all three positions is the origin. That is every triangle
    of rest, but for its size and orientation. Masses that are not equal move the centre of mass; all are
    moved with it.
    """

    num_bodies = 3
    parameters = (
        Parameter("second_x", "m", "x of the second body at time 0", -0.5, 0.0),
        Parameter("second_y", "m", "y of the second body at time 0", 0.0, math.sqrt(0.75)),
    )

    def __init__(
        self, options: SystemOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.parametric = options.mass_ratio[0] == options.mass_ratio[1]

    def draw(self, rng: np.random.Generator, outside: bool) -> Parameters:
        """See `System.draw`; inside, with equal chance for equal areas."""
        drawn = super().draw(rng, outside)
        while not outside and (1 + drawn["second_x"]) ** 2 + drawn["second_y"] ** 2 > 1:
            drawn.update(draw(self.parameters, rng, outside))
        return drawn

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """See `System.bodies`."""
        x, y = parameters["second_x"], parameters["second_y"]
        bodies = np.zeros((6, 3))
        bodies[0] = 1.0, x, -1.0 - x
        bodies[1] = 0.0, y, -y
        return _at_rest(bodies, self.masses(parameters))

    def at(self, parameters: Mapping[str, Any], xp: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        """See `System.at`."""
        x, y = parameters["second_x"], parameters["second_y"]
        zero = 0 * x
        bodies = [(zero + 1, zero, zero, zero), (x, y, zero, zero), (-1 - x, -y, zero, zero)]
        return [zero + self.options.total_mass / 3] * 3, bodies


class FigureEight(System):
    """Three bodies near the figure-eight orbit of Chenciner & Montgomery (2000, arXiv:math/0011268), from
    Simo's initial values. The orbit's period is 6.32591398 sqrt(3 m^3 / (G total_mass)) s. Each component is
    disturbed by a normal number with a standard deviation of `perturbation` (m, or the unit of velocity).
    """

    num_bodies = 3

    def __init__(
        self, options: SystemOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.parameters = (
            Parameter("perturbation", "1", "deviation of the bodies from the orbit", *options.perturbation),
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """What is added to positions and velocities over the perturbation, (2 d, 3)."""
        return {"deviations": rng.standard_normal((2 * self.dimension, 3))}

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """See `System.bodies`."""
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
        return _at_rest(bodies, self.masses(parameters))


class Sphere(System):
    """Bodies in a sphere, with parameters' `positions` over its radius and `velocities` over their unit."""

    least_dimension = 3

    def __init__(
        self, options: SystemOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.num_bodies = options.num_bodies


class Plummer(Sphere):
    """`num_bodies` of a Plummer sphere in equilibrium, drawn as by Aarseth, Henon & Wielen (1974,
    A&A 37, 183), with the virial radius from `radius`: Henon's standard units where G, total_mass and
    radius are 1.

    The innermost 99.9 % of the mass are drawn.
    """

    def __init__(
        self, options: SystemOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.parameters = (
            Parameter("virial_radius", "m", "G M^2 over twice the potential energy", *options.radius),
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Positions over the virial radius and velocities over sqrt(G M / virial radius), (3, n) each."""
        n = self.num_bodies
        scale = 3 * np.pi / 16  # Plummer's radius over the virial radius.
        r = 1 / np.sqrt(rng.uniform(0.0, 0.999, n) ** (-2 / 3) - 1)
        escape = math.sqrt(2) * (1 + r * r) ** -0.25
        return {
            "positions": scale * r * _directions(rng, n),
            "velocities": escape * _speeds(rng, n) / math.sqrt(scale) * _directions(rng, n),
        }

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """See `System.bodies`."""
        radius = parameters["virial_radius"]
        speed = math.sqrt(self.gravitational_constant * self.options.total_mass / radius)
        bodies = np.vstack([radius * parameters["positions"], speed * parameters["velocities"]])
        return _at_rest(bodies, self.masses(parameters))


class ColdCollapse(Sphere):
    """`num_bodies` with equal chance in a sphere of `radius`, with normal velocities of one deviation, their
    kinetic energy `virial_ratio` times the potential energy: 0.5 is virial equilibrium, 0 rest.
    """

    def __init__(
        self, options: SystemOptions, gravitational_constant: float, softening: float, dimension: int
    ):
        super().__init__(options, gravitational_constant, softening, dimension)
        self.parameters = (
            Parameter("sphere_radius", "m", "radius of the sphere at time 0", *options.radius),
            Parameter("virial_ratio", "1", "kinetic over potential energy at time 0", *options.virial_ratio),
        )

    def draw_arrays(self, rng: np.random.Generator) -> Parameters:
        """Positions over the radius and velocities over some unit, (3, n) each."""
        n = self.num_bodies
        return {
            "positions": np.cbrt(rng.random(n)) * _directions(rng, n),
            "velocities": rng.standard_normal((3, n)),
        }

    def bodies(self, parameters: Parameters) -> np.ndarray:
        """See `System.bodies`."""
        mass = self.masses(parameters)
        bodies = np.vstack([
            parameters["sphere_radius"] * parameters["positions"],
            parameters["velocities"],
        ])  # fmt: skip
        bodies = _at_rest(bodies, mass)
        kinetic = 0.5 * float(np.sum(mass * bodies[3:] ** 2))
        potential, _ = pairs(bodies, mass, self.gravitational_constant * mass, self.softening**2, 0, 1)
        bodies[3:] *= math.sqrt(parameters["virial_ratio"] * -potential / kinetic)
        return bodies


def _at_rest(bodies: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """The bodies seen from their centre of mass."""
    centred: np.ndarray = bodies - (bodies @ (mass / np.sum(mass)))[:, None]
    return centred


def _eccentric_anomaly(mean_anomaly: float, eccentricity: float) -> float:
    """E of Kepler's equation M = E - e sin E, by Newton's iteration."""
    mean_anomaly = math.remainder(mean_anomaly, 2 * math.pi)
    anomaly = math.copysign(math.pi, mean_anomaly) if eccentricity > 0.8 else mean_anomaly
    for _ in range(50):
        wrong = anomaly - eccentricity * math.sin(anomaly) - mean_anomaly
        anomaly -= wrong / (1 - eccentricity * math.cos(anomaly))
        if abs(wrong) < 1e-15:
            break
    return anomaly


def _directions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors (3, count) with equal chance in space."""
    vectors: np.ndarray = rng.standard_normal((3, count))
    vectors /= np.sqrt(np.sum(vectors**2, axis=0))
    return vectors


def _speeds(rng: np.random.Generator, count: int) -> np.ndarray:
    """Speeds in a Plummer sphere over that of escape, of density q^2 (1 - q^2)^(7/2), by rejection."""
    accepted = np.empty(0)
    while accepted.size < count:
        q, height = rng.random(2 * count), rng.uniform(0.0, 0.1, 2 * count)
        accepted = np.append(accepted, q[height < q**2 * (1 - q**2) ** 3.5])
    return accepted[:count]


SYSTEMS: dict[str, type[System]] = {
    "two_body": TwoBody,
    "three_body": ThreeBody,
    "figure_eight": FigureEight,
    "plummer": Plummer,
    "cold_collapse": ColdCollapse,
}
