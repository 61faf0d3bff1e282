"""Initial states of bodies: each system has its defining properties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from simsurrogate.errors import UserError
from tests.support.nbody_cases import (
    KEPLER,
    SPHERE,
    masses,
    nbody,
    prepare_trajectory,
    sample_parameters,
    state_after,
)

PLUMMER_SPHERE = {"dimension": 3, "system": SPHERE | {"kind": "plummer", "num_bodies": 2000}}
COLD_SPHERE = {"dimension": 3, "system": SPHERE | {"kind": "cold_collapse", "num_bodies": 1000}}
#: The Plummer radius divided by the virial radius.
PLUMMER_RADIUS = 3 * math.pi / 16


def norms(vectors: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.sqrt(np.sum(vectors**2, axis=0))
    return lengths


@pytest.mark.parametrize("constant", [1.0, 2.0])
def test_a_plummer_sphere_is_in_virial_equilibrium(constant: float) -> None:
    system = PLUMMER_SPHERE["system"] | {"radius": [3.0, 3.0], "total_mass": 5.0}
    solver = nbody(dimension=3, system=system, gravitational_constant=constant)
    trajectory = prepare_trajectory(solver)
    state = trajectory.initial_state
    kinetic = 0.5 * np.sum(masses(trajectory) * state[3:] ** 2)
    potential = trajectory.invariants(state)["energy"] - kinetic
    # Sums over 2000 random bodies scatter by about 2 %.
    assert potential == pytest.approx(-constant * 25 / (2 * 3.0), rel=0.05)
    assert kinetic / -potential == pytest.approx(0.5, rel=0.05)


def test_a_plummer_sphere_has_its_density_and_speed_profiles() -> None:
    solver = nbody(dimension=3, system=PLUMMER_SPHERE["system"] | {"num_bodies": 30000})
    state = prepare_trajectory(solver).initial_state
    r, v = norms(state[:3]), norms(state[3:])
    assert stats.kstest(r, lambda r: (1 + (PLUMMER_RADIUS / r) ** 2) ** -1.5 / 0.999).pvalue > 0.01
    # The speed divided by the escape speed has the density q^2 (1 - q^2)^(7/2): q^2 has a beta distribution.
    speed_ratio = v / np.sqrt(2 / np.sqrt(r**2 + PLUMMER_RADIUS**2))
    assert stats.kstest(speed_ratio**2, stats.beta(1.5, 4.5).cdf).pvalue > 0.01
    for row in (*(state[:3] / r), *(state[3:] / v)):
        assert stats.kstest(row, stats.uniform(-1, 2).cdf).pvalue > 0.01


def test_a_plummer_sphere_keeps_its_profile() -> None:
    """Compare quantiles, which scatter by 1.5 to 3 %, after a crossing time of 2 sqrt(2) s."""
    solver = nbody(
        **PLUMMER_SPHERE, softening=0.02, integrator="leapfrog", time_step=0.02, energy_tolerance=1e-2
    )
    final_state = state_after(prepare_trajectory(solver), 2 * math.sqrt(2))
    mass_fractions = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
    expected = PLUMMER_RADIUS / np.sqrt((0.999 * mass_fractions) ** (-2 / 3) - 1)
    centred_positions = final_state[:3] - np.median(final_state[:3], axis=1)[:, None]
    assert np.quantile(norms(centred_positions), mass_fractions) == pytest.approx(expected, rel=0.08)


def test_a_cold_sphere_is_uniform_and_has_the_drawn_virial_ratio() -> None:
    system = COLD_SPHERE["system"] | {
        "radius": [2.0, 3.0],
        "virial_ratio": [0.1, 0.4],
        "mass_ratio": [0.5, 2.0],
    }
    solver = nbody(dimension=3, system=system, softening=0.1, gravitational_constant=0.6)
    parameters = sample_parameters(solver)
    trajectory = solver.prepare(parameters)
    state, mass = trajectory.initial_state, masses(trajectory)
    kinetic = 0.5 * np.sum(mass * state[3:] ** 2)
    potential = trajectory.invariants(state)["energy"] - kinetic
    assert kinetic / -potential == pytest.approx(parameters["virial_ratio"], rel=1e-12)
    r = norms(parameters["positions"])
    assert stats.kstest(r**3, stats.uniform().cdf).pvalue > 0.01
    assert np.max(norms(state[:3])) == pytest.approx(parameters["sphere_radius"], rel=0.05)
    assert np.sum(mass) == pytest.approx(1.0, rel=1e-14)
    assert np.max(mass) / np.min(mass) == pytest.approx(4.0, rel=0.01)


def test_a_cold_sphere_collapses_like_pressureless_matter() -> None:
    # All radii shrink as cos^2 b with b + sin(2b) / 2 = pi t / (2 t_ff), t_ff = pi/2 sqrt(R^3 / (2 G M)).
    system = COLD_SPHERE["system"] | {"virial_ratio": [0.0, 0.0]}
    solver = nbody(dimension=3, system=system, softening=0.02, accuracy=0.03)
    trajectory = prepare_trajectory(solver)
    initial_state = trajectory.initial_state
    free_fall = math.pi / 2 * math.sqrt(0.5)
    for time_fraction in (0.3, 0.5):
        final_state = state_after(trajectory, time_fraction * free_fall)
        b = brentq(
            lambda y, time_fraction=time_fraction: y + math.sin(2 * y) / 2 - time_fraction * math.pi / 2,
            0.0,
            math.pi / 2,
        )
        assert np.linalg.norm(final_state[:3]) / np.linalg.norm(initial_state[:3]) == pytest.approx(
            math.cos(b) ** 2, rel=0.015
        )


def test_three_bodies_from_rest_have_the_published_distribution() -> None:
    # The first body is the farthest from the centre of mass, and the second body is the nearest.
    solver = nbody()
    initial_states = np.array([prepare_trajectory(solver, seed).initial_state for seed in range(400)])
    assert not np.any(initial_states[:, 2:])
    assert np.max(np.abs(np.sum(initial_states[:, :2], axis=2))) < 1e-15
    assert np.max(np.abs(initial_states[:, :2, 0] - [1.0, 0.0])) < 1e-15
    first_distance, second_distance, third_distance = np.hypot(initial_states[:, 0], initial_states[:, 1]).T
    assert np.all((second_distance <= third_distance) & (third_distance <= first_distance))
    x, y = initial_states[:, :2, 1].T
    assert np.all((x <= 0) & (y >= 0))
    # The density is uniform over the region below the unit circle about (-1, 0).
    upper_edge = np.sqrt(1 - (1 + x) ** 2)
    area = ((1 + x) * upper_edge + np.arcsin(1 + x)) / 2
    least_area, largest_area = (0.5 * math.sqrt(0.75) + math.pi / 6) / 2, math.pi / 4
    assert stats.kstest((area - least_area) / (largest_area - least_area), stats.uniform().cdf).pvalue > 0.01
    assert stats.kstest(y / upper_edge, stats.uniform().cdf).pvalue > 0.01


@pytest.mark.parametrize(
    "changes",
    [
        {"system": KEPLER},
        {"system": {"kind": "figure_eight"}},
        {"dimension": 3, "system": SPHERE | {"kind": "plummer", "num_bodies": 30}},
        {"dimension": 3, "system": SPHERE | {"kind": "cold_collapse", "num_bodies": 30}},
    ],
    ids=lambda changes: changes["system"]["kind"],
)
def test_parameters_outside_the_ranges_have_valid_systems(changes: dict[str, Any]) -> None:
    solver = nbody(**changes)
    for seed in range(50):
        parameters = solver.sample(np.random.default_rng(seed), outside=True)
        assert any(
            not scalar.low <= parameters[scalar.name] <= scalar.high for scalar in solver.spec.parameters
        )
        assert parameters.get("eccentricity", 0.0) < 1
        trajectory = solver.prepare(parameters)
        assert math.isfinite(trajectory.invariants(trajectory.initial_state)["energy"])
        assert np.all(trajectory.coefficient_fields > 0)


@pytest.mark.parametrize("mass_ratio", [[1.0, 1.0], [0.5, 2.0]])
def test_three_bodies_at_rest_have_no_outside(mass_ratio: list[float]) -> None:
    # Every triangle outside the region of the second body is a training triangle, scaled, turned or mirrored.
    solver = nbody(system={"mass_ratio": mass_ratio})
    with pytest.raises(UserError, match=r"cover all triangles at rest.*Type samples.test_extrapolation=0"):
        solver.sample(np.random.default_rng(0), outside=True)


def test_softening_that_takes_the_meaning_from_kepler_orbits_is_refused() -> None:
    options = {"system": {"kind": "two_body", "total_mass": 1.0, "eccentricity": [0.0, 0.5]}}
    # 1.5 (0.2 / 0.5)^2 = 24 %
    with pytest.raises(
        ValueError, match=r"softening=0.2 m changes the force .* 0.5 m by about 24 %.*at most 0.0408"
    ):
        nbody(**options, softening=0.2)
    assert nbody(**options, softening=0.04)


def test_softening_that_takes_a_plummer_sphere_out_of_equilibrium_is_refused() -> None:
    options = {"dimension": 3, "system": {"kind": "plummer", "total_mass": 1.0}}
    with pytest.raises(ValueError, match=r"softening=0.5 m lowers the potential energy .* by 20 %"):
        nbody(**options, softening=0.5)
    assert nbody(**options, softening=0.1)
