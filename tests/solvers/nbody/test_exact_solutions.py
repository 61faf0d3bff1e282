"""Bodies compared with exact solutions: Kepler orbits, the figure-eight orbit, and observed orders."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from tests.support.nbody_cases import (
    KEPLER,
    SPHERE,
    masses,
    nbody,
    prepare_trajectory,
    sample_parameters,
    state_after,
    state_by_dop853,
)

FIGURE_EIGHT_PERIOD = 6.32591398


def kepler_position(initial_state: np.ndarray, constant: float, mass: float, time: float) -> np.ndarray:
    """Return the relative position at `time` (s) on the orbit through the state `start`.

    The orbital elements follow from the conserved vectors, and the anomaly follows from Kepler's equation.
    """
    dimension = len(initial_state) // 2
    relative_state = np.zeros((2, 3))
    relative_state[:, :dimension] = (initial_state[:, 1] - initial_state[:, 0]).reshape(2, dimension)
    x, v = relative_state
    mu, r = constant * mass, np.linalg.norm(x)
    a = 1 / (2 / r - v @ v / mu)
    eccentricity_vector = np.cross(v, np.cross(x, v)) / mu - x / r
    e = float(np.linalg.norm(eccentricity_vector))
    p = eccentricity_vector / e
    q = np.cross(np.cross(x, v), p)
    q /= np.linalg.norm(q)
    axis_ratio = np.sqrt(1 - e * e)
    first_anomaly = np.arctan2(x @ q / (a * axis_ratio), x @ p / a + e)
    mean_anomaly = first_anomaly - e * np.sin(first_anomaly) + np.sqrt(mu / a**3) * time
    anomaly = brentq(
        lambda y: y - e * np.sin(y) - mean_anomaly, mean_anomaly - 2, mean_anomaly + 2, xtol=1e-15, rtol=1e-15
    )
    result: np.ndarray = a * (np.cos(anomaly) - e) * p + a * axis_ratio * np.sin(anomaly) * q
    return result[:dimension]


def kepler_error(duration: float, seed: int = 0, frames: int = 1, **changes: Any) -> tuple[float, int]:
    """Return the error of the relative position in units of the semi-major axis, and the number of steps."""
    constant, mass = 2.0, 1.5
    system = {**KEPLER, "total_mass": mass, **changes.pop("system", {})}
    solver = nbody(gravitational_constant=constant, system=system, **changes)
    parameters = sample_parameters(solver, seed)
    trajectory = solver.prepare(parameters)
    state = state_after(trajectory, duration, frames)
    dimension = len(state) // 2
    difference = (
        state[:dimension, 1]
        - state[:dimension, 0]
        - kepler_position(trajectory.initial_state, constant, mass, duration)
    )
    error = float(np.linalg.norm(difference)) / parameters["semi_major_axis"]
    return error, trajectory.counts["steps"]


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_two_bodies_move_on_keplers_ellipse(dimension: int, seed: int) -> None:
    system = {"radius": [0.5, 2.0], "eccentricity": [0.0, 0.9], "mass_ratio": [0.1, 1.0]}
    error, _ = kepler_error(5.0, seed, 7, dimension=dimension, system=system, accuracy=1e-4)
    assert error < 2e-9


@pytest.mark.parametrize("periapsis", [1e-6, 1e-8])
def test_two_bodies_pass_each_other_at_any_distance(periapsis: float) -> None:
    # The compensated sums of the solver keep the separation to round-off.
    # Round-off of 1e-16 m in positions near 1 m would change the energy at this periapsis by a factor of 1e-4
    # or more.
    eccentricity = 1 - periapsis
    solver = nbody(system={**KEPLER, "eccentricity": [eccentricity, eccentricity]})
    parameters = sample_parameters(solver)
    parameters["orbital_angles"][0] = 2.0
    trajectory = solver.prepare(parameters)
    state = trajectory.initial_state.copy()
    state[:2] += [[1.0], [0.7]]
    final_state = trajectory.advance(state, 0.0, 6.0)
    assert trajectory.counts["close_encounters"] == 1
    error = final_state[:2, 1] - final_state[:2, 0] - kepler_position(trajectory.initial_state, 1.0, 1.0, 6.0)
    assert np.linalg.norm(error) < 2e-5


def test_the_orbit_has_the_drawn_elements() -> None:
    solver = nbody(
        dimension=3,
        system={**KEPLER, "radius": [0.5, 2.0], "mass_ratio": [0.1, 1.0]},
        gravitational_constant=2.0,
    )
    cosines = []
    for seed in range(200):
        parameters = sample_parameters(solver, seed)
        trajectory = solver.prepare(parameters)
        state = trajectory.initial_state
        x, v = (state[:, 1] - state[:, 0]).reshape(2, 3)
        angular_momentum = np.cross(x, v)
        a = 1 / (2 / np.linalg.norm(x) - v @ v / 2.0)
        assert a == pytest.approx(parameters["semi_major_axis"], rel=1e-12)
        assert angular_momentum @ angular_momentum == pytest.approx(
            2.0 * a * (1 - parameters["eccentricity"] ** 2), rel=1e-11
        )
        mass = masses(trajectory)
        assert mass[1] / mass[0] == pytest.approx(parameters["mass_ratio"], rel=1e-14)
        assert np.max(np.abs(state @ mass)) < 1e-15 * np.max(np.abs(state)) * 2
        cosines.append(angular_momentum[2] / np.linalg.norm(angular_momentum))
    # For uniformly random orbital planes, the cosine of the inclination is uniform from -1 to 1.
    assert abs(np.mean(cosines)) < 3 / np.sqrt(3 * 200)
    assert np.var(cosines) == pytest.approx(1 / 3, rel=0.2)


@pytest.mark.parametrize(("integrator", "expected"), [("leapfrog", 2), ("yoshida4", 4)])
def test_symplectic_integrators_have_their_order(integrator: str, expected: int) -> None:
    system = {"eccentricity": [0.3, 0.3]}
    errors = [
        kepler_error(3.0, system=system, integrator=integrator, time_step=3.0 / n, energy_tolerance=1.0)[0]
        for n in (200, 400, 800)
    ]
    for coarse_error, fine_error in itertools.pairwise(errors):
        assert np.log2(coarse_error / fine_error) == pytest.approx(expected, abs=0.2)


def observed_orders(runs: list[tuple[float, int]]) -> list[float]:
    """Return the observed orders from the errors and the numbers of steps of runs."""
    return [
        float(np.log(coarse_error / fine_error) / np.log(num_fine_steps / num_coarse_steps))
        for (coarse_error, num_coarse_steps), (fine_error, num_fine_steps) in itertools.pairwise(runs)
    ]


def test_hermite_is_of_fourth_order_over_adaptive_steps() -> None:
    system = {"eccentricity": [0.3, 0.3]}
    runs = [kepler_error(3.0, system=system, accuracy=eta) for eta in (4e-3, 1e-3, 2.5e-4)]
    assert observed_orders(runs) == pytest.approx([4, 4], abs=0.2)


def test_hermite_is_of_fourth_order_for_many_bodies() -> None:
    # More than twelve bodies use one evaluation of the corrector, and forces by tiles.
    system = SPHERE | {"kind": "cold_collapse", "num_bodies": 20}
    runs = []
    for accuracy in (2.5e-3, 6.25e-4, 1.5625e-4):
        solver = nbody(dimension=3, softening=0.1, system=system, accuracy=accuracy)
        trajectory = prepare_trajectory(solver)
        error = state_after(trajectory, 0.7) - state_by_dop853(trajectory, 0.7, softening=0.1)
        runs.append((float(np.linalg.norm(error)), trajectory.counts["steps"]))
    assert observed_orders(runs) == pytest.approx([4, 4], abs=0.2)


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
    trajectory = prepare_trajectory(solver)
    period = FIGURE_EIGHT_PERIOD * np.sqrt(3 / (constant * mass))
    initial_state = trajectory.initial_state
    # The published initial values have eight decimals.
    assert np.max(np.abs(state_after(trajectory, period) - initial_state)) < 1e-7
    # After a third of the period the bodies have exchanged their positions.
    state = state_after(trajectory, period / 3)
    assert np.max(np.abs(state - initial_state)) > 0.5
    assert min(np.max(np.abs(np.roll(state, shift, axis=1) - initial_state)) for shift in (1, 2)) < 1e-7
