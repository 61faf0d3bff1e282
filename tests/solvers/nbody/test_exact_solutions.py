"""Bodies against exact solutions: Kepler orbits, the figure-eight, the observed orders."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from solvers.contract import Parameters
from solvers.nbody import NBody
from tests.support.nbody_cases import KEPLER, SPHERE, advanced, independent, nbody, sampled

FIGURE_EIGHT_PERIOD = 6.32591398


def kepler(solver: NBody, parameters: Parameters, constant: float, mass: float, time: float) -> np.ndarray:
    """The relative position at `time` (s) on the orbit through the initial state, from that state alone:
    its elements from the conserved vectors, its anomaly from Kepler's equation.
    """
    state = solver.initial_state(parameters)
    d = len(state) // 2
    relative = np.zeros((2, 3))
    relative[:, :d] = (state[:, 1] - state[:, 0]).reshape(2, d)
    x, v = relative
    mu, r = constant * mass, np.linalg.norm(x)
    a = 1 / (2 / r - v @ v / mu)
    axis = np.cross(v, np.cross(x, v)) / mu - x / r
    e = float(np.linalg.norm(axis))
    p = axis / e
    q = np.cross(np.cross(x, v), p)
    q /= np.linalg.norm(q)
    minor = np.sqrt(1 - e * e)
    begin = np.arctan2(x @ q / (a * minor), x @ p / a + e)
    anomaly = begin - e * np.sin(begin) + np.sqrt(mu / a**3) * time
    now = brentq(lambda y: y - e * np.sin(y) - anomaly, anomaly - 2, anomaly + 2, xtol=1e-15, rtol=1e-15)
    result: np.ndarray = a * (np.cos(now) - e) * p + a * minor * np.sin(now) * q
    return result[:d]


def kepler_error(duration: float, seed: int = 0, frames: int = 1, **changes: Any) -> tuple[float, int]:
    """The largest error of the relative position over the semi-major axis, and the steps it took."""
    constant, mass = 2.0, 1.5
    system = {**KEPLER, "total_mass": mass, **changes.pop("system", {})}
    solver = nbody(gravitational_constant=constant, system=system, **changes)
    parameters = sampled(solver, seed)
    state = advanced(solver, parameters, duration, frames)
    d = len(state) // 2
    found = state[:d, 1] - state[:d, 0]
    expected = kepler(solver, parameters, constant, mass, duration)
    return float(np.linalg.norm(found - expected)) / parameters["semi_major_axis"], solver.counts["steps"]


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_two_bodies_move_on_keplers_ellipse(dimension: int, seed: int) -> None:
    system = {"radius": [0.5, 2.0], "eccentricity": [0.0, 0.9], "mass_ratio": [0.1, 1.0]}
    error, _ = kepler_error(5.0, seed, 7, dimension=dimension, system=system, accuracy=1e-4)
    assert error < 2e-9


@pytest.mark.parametrize("periapsis", [1e-6, 1e-8])
def test_two_bodies_pass_each_other_at_any_distance(periapsis: float) -> None:
    """Through a periapsis that round-off of their distance from the origin, 1e-16, would change by 1e-4 and
    more of the energy: what is lost there is a share of the whole energy all the same.
    """
    eccentricity = 1 - periapsis
    solver = nbody(system={**KEPLER, "eccentricity": [eccentricity, eccentricity]})
    parameters = sampled(solver)
    parameters["orbital_angles"][0] = 2.0
    state = solver.initial_state(parameters)
    state[:2] += [[1.0], [0.7]]
    end = solver.advance(state, parameters, 0.0, 6.0)
    assert solver.counts["close_encounters"] == 1
    error = end[:2, 1] - end[:2, 0] - kepler(solver, parameters, 1.0, 1.0, 6.0)
    assert np.linalg.norm(error) < 2e-5


def test_the_drawn_elements_are_those_of_the_orbit() -> None:
    solver = nbody(
        dimension=3,
        system={**KEPLER, "radius": [0.5, 2.0], "mass_ratio": [0.1, 1.0]},
        gravitational_constant=2.0,
    )
    cosines = []
    for seed in range(200):
        parameters = sampled(solver, seed)
        state = solver.initial_state(parameters)
        x, v = (state[:, 1] - state[:, 0]).reshape(2, 3)
        turning = np.cross(x, v)
        a = 1 / (2 / np.linalg.norm(x) - v @ v / 2.0)
        assert a == pytest.approx(parameters["semi_major_axis"], rel=1e-12)
        assert turning @ turning == pytest.approx(2.0 * a * (1 - parameters["eccentricity"] ** 2), rel=1e-11)
        mass = solver.coefficients(parameters)[0]
        assert mass[1] / mass[0] == pytest.approx(parameters["mass_ratio"], rel=1e-14)
        assert np.max(np.abs(state @ mass)) < 1e-15 * np.max(np.abs(state)) * 2
        cosines.append(turning[2] / np.linalg.norm(turning))
    # Planes with equal chance in space: the cosine of the inclination is uniform from -1 to 1.
    assert abs(np.mean(cosines)) < 3 / np.sqrt(3 * 200)
    assert np.var(cosines) == pytest.approx(1 / 3, rel=0.2)


@pytest.mark.parametrize(("integrator", "expected"), [("leapfrog", 2), ("yoshida4", 4)])
def test_order_of_the_symplectic_integrators(integrator: str, expected: int) -> None:
    system = {"eccentricity": [0.3, 0.3]}
    errors = [
        kepler_error(3.0, system=system, integrator=integrator, time_step=3.0 / n, energy_tolerance=1.0)[0]
        for n in (200, 400, 800)
    ]
    for coarse, fine in itertools.pairwise(errors):
        assert np.log2(coarse / fine) == pytest.approx(expected, abs=0.2)


def order_of_hermite(found: list[tuple[float, int]]) -> list[float]:
    """From errors and the numbers of steps, each about twice the one before."""
    return [
        float(np.log(coarse / fine) / np.log(many / few))
        for (coarse, few), (fine, many) in itertools.pairwise(found)
    ]


def test_order_of_hermite_over_its_own_steps() -> None:
    system = {"eccentricity": [0.3, 0.3]}
    found = [kepler_error(3.0, system=system, accuracy=eta) for eta in (4e-3, 1e-3, 2.5e-4)]
    assert order_of_hermite(found) == pytest.approx([4, 4], abs=0.2)


def test_order_of_hermite_for_many_bodies() -> None:
    """More than twelve: with one evaluation of the corrector, over sums by tiles."""
    system = SPHERE | {"kind": "cold_collapse", "num_bodies": 20}
    found = []
    for accuracy in (2.5e-3, 6.25e-4, 1.5625e-4):
        solver = nbody(dimension=3, softening=0.1, system=system, accuracy=accuracy)
        parameters = sampled(solver)
        error = advanced(solver, parameters, 0.7) - independent(solver, parameters, 0.7, softening=0.1)
        found.append((float(np.linalg.norm(error)), solver.counts["steps"]))
    assert order_of_hermite(found) == pytest.approx([4, 4], abs=0.2)


@pytest.mark.parametrize(("constant", "mass"), [(1.0, 3.0), (0.5, 2.0)])
@pytest.mark.parametrize(
    "changes",
    [{"accuracy": 1e-4}, {"integrator": "yoshida4", "time_step": 1e-3}],
    ids=["hermite4", "yoshida4"],
)
def test_the_figure_eight_returns_after_its_period(
    constant: float, mass: float, changes: dict[str, Any]
) -> None:
    system = {"kind": "figure_eight", "perturbation": [0.0, 0.0], "total_mass": mass}
    solver = nbody(system=system, gravitational_constant=constant, **changes)
    parameters = sampled(solver)
    period = FIGURE_EIGHT_PERIOD * np.sqrt(3 / (constant * mass))
    begin = solver.initial_state(parameters)
    # The initial values have eight decimals.
    assert np.max(np.abs(advanced(solver, parameters, period) - begin)) < 1e-7
    # After a third the bodies have changed places.
    third = advanced(solver, parameters, period / 3)
    assert np.max(np.abs(third - begin)) > 0.5
    assert min(np.max(np.abs(np.roll(third, by, axis=1) - begin)) for by in (1, 2)) < 1e-7
