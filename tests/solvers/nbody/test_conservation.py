"""Conserved quantities of bodies, and comparisons with independent calculations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from solvers.nbody.gravity import forces_between, pair_forces, tiled_pair_forces
from tests.support.nbody_cases import (
    KEPLER,
    SPHERE,
    accelerations,
    masses,
    nbody,
    prepare_trajectory,
    sample_parameters,
    state_after,
    state_by_dop853,
)

SYSTEMS: dict[str, dict[str, Any]] = {
    "two_body": {"dimension": 3, "system": KEPLER | {"mass_ratio": [0.2, 0.9]}},
    "three_body": {"system": {"mass_ratio": [0.5, 2.0]}},
    "figure_eight": {"dimension": 3, "system": {"kind": "figure_eight"}},
    "plummer": {
        "dimension": 3,
        "softening": 0.05,
        "system": SPHERE | {"kind": "plummer", "mass_ratio": [0.5, 2.0]},
    },
    "cold_collapse": {"dimension": 3, "softening": 0.05, "system": SPHERE | {"kind": "cold_collapse"}},
}
INTEGRATORS: dict[str, dict[str, Any]] = {
    "hermite4": {},
    "leapfrog": {"integrator": "leapfrog", "time_step": 2e-3},
    "yoshida4": {"integrator": "yoshida4", "time_step": 2e-3},
}


@pytest.mark.parametrize(
    ("integrator", "energy", "angular_momentum"),
    [("hermite4", 1e-7, 1e-8), ("leapfrog", 1e-5, 1e-14), ("yoshida4", 1e-9, 1e-14)],
)
@pytest.mark.parametrize("kind", SYSTEMS)
def test_momentum_is_conserved_to_round_off_and_energy_to_the_order_of_the_scheme(
    kind: str, integrator: str, energy: float, angular_momentum: float
) -> None:
    solver = nbody(**SYSTEMS[kind], **INTEGRATORS[integrator])
    trajectory = prepare_trajectory(solver)
    initial_state = trajectory.initial_state
    final_state = state_after(trajectory, 0.3, 3)
    mass = masses(trajectory)
    invariants_before, invariants_after = (
        trajectory.invariants(initial_state),
        trajectory.invariants(final_state),
    )
    dimension = len(final_state) // 2
    scale = float(np.sum(mass * np.sqrt(np.sum(final_state[dimension:] ** 2, axis=0))))
    for name in invariants_before:
        if name.startswith("momentum"):
            assert abs(invariants_after[name]) < 1e-14 * scale
        if name.startswith("angular_momentum"):
            assert abs(invariants_after[name] - invariants_before[name]) < angular_momentum * scale
    assert abs(invariants_after["energy"] / invariants_before["energy"] - 1) < energy
    # The centre of mass stays at rest in the origin.
    assert np.max(np.abs(final_state[:dimension] @ mass)) < 1e-14 * np.sum(mass)


def test_the_invariants_equal_a_plain_sum() -> None:
    solver = nbody(**SYSTEMS["plummer"], gravitational_constant=0.7)
    trajectory = prepare_trajectory(solver)
    state = state_after(trajectory, 0.1)
    state[3:] += [[0.1], [-0.2], [0.3]]
    invariants = trajectory.invariants(state)
    mass = masses(trajectory)
    x, v = state[:3], state[3:]
    squares = np.sum((x[:, None] - x[:, :, None]) ** 2, axis=0)
    pair_indices = np.triu_indices(mass.size, 1)
    potential = -0.7 * np.sum((mass[:, None] * mass / np.sqrt(squares + 0.05**2))[pair_indices])
    assert invariants["energy"] == pytest.approx(0.5 * np.sum(mass * v**2) + potential, rel=1e-13)
    angular_momentum = np.sum(mass * np.cross(x, v, axis=0), axis=1)
    for axis, name in enumerate("xyz"):
        assert invariants[f"momentum_{name}"] == pytest.approx((v @ mass)[axis], rel=1e-12)
        assert invariants[f"angular_momentum_{name}"] == pytest.approx(angular_momentum[axis], abs=1e-14)
    assert invariants["least_separation"] == pytest.approx(np.sqrt(np.min(squares[pair_indices])), rel=1e-14)


@pytest.mark.parametrize("softening", [0.0, 0.1])
@pytest.mark.parametrize("count", [2, 12, 13, 128, 301])
def test_forces_equal_a_plain_sum(count: int, softening: float) -> None:
    """Compare few bodies and full and partly filled tiles with plain sums, and jerks with differences."""
    rng = np.random.default_rng(count)
    bodies, g = rng.standard_normal((6, count)), rng.uniform(0.5, 2.0, count)
    x, v = bodies[:3], bodies[3:]
    expected = accelerations(x, g, softening)
    step = 1e-6
    jerks = (accelerations(x + step * v, g, softening) - accelerations(x - step * v, g, softening)) / (
        2 * step
    )
    scale = np.max(np.abs(expected))
    squares = np.sum((x[:, None] - x[:, :, None]) ** 2, axis=0)
    squared_separation = np.min(squares[np.triu_indices(count, 1)]) + softening**2
    forces_with_jerks, accelerations_only = np.empty((6, count)), np.empty((3, count))
    for force in (forces_with_jerks, accelerations_only):
        for function in (pair_forces, tiled_pair_forces):
            least_square = function(bodies, g, softening**2, force)
            if len(force) == 6:
                assert least_square == pytest.approx(squared_separation, rel=1e-13)
            assert np.max(np.abs(force[:3] - expected)) < 1e-13 * scale
    assert np.max(np.abs(forces_with_jerks[3:] - jerks)) < 1e-7 * np.max(np.abs(jerks))
    # The total force is the sum of the forces within two halves and between the halves.
    num_first = count // 2
    halves = [
        (np.ascontiguousarray(bodies[:, bodies_of_half]), g[bodies_of_half].copy())
        for bodies_of_half in (slice(num_first), slice(num_first, None))
    ]
    forces_of_halves = [np.empty((6, g_of_half.size)) for _, g_of_half in halves]
    for (bodies_of_half, g_of_half), force in zip(halves, forces_of_halves, strict=True):
        tiled_pair_forces(bodies_of_half, g_of_half, softening**2, force)
    (first_half, g_first), (second_half, g_second) = halves
    forces_between(
        first_half, g_first, softening**2, forces_of_halves[0], second_half, g_second, forces_of_halves[1]
    )
    assert (
        np.max(
            np.abs(np.hstack(forces_of_halves) - forces_with_jerks)
            / np.max(np.abs(forces_with_jerks), axis=1)[:, None]
        )
        < 1e-13
    )


@pytest.mark.parametrize("kind", SYSTEMS)
def test_trajectories_agree_with_an_independent_integrator(kind: str) -> None:
    system = SYSTEMS[kind]["system"]
    changes = SYSTEMS[kind] | {"system": {**system, "num_bodies": 20} if "num_bodies" in system else system}
    solver = nbody(**changes, accuracy=1e-4, gravitational_constant=0.8)
    trajectory = prepare_trajectory(solver)
    state = state_after(trajectory, 0.7, 3)
    expected = state_by_dop853(trajectory, 0.7, 0.8, changes.get("softening", 0.0))
    assert np.max(np.abs(state - expected)) < 1e-9 * np.max(np.abs(expected))


@pytest.mark.parametrize("integrator", ["leapfrog", "yoshida4"])
def test_symplectic_integrators_are_time_reversible(integrator: str) -> None:
    solver = nbody(**SYSTEMS["figure_eight"], **INTEGRATORS[integrator])
    trajectory = prepare_trajectory(solver)
    initial_state = trajectory.initial_state
    final_state = trajectory.advance(initial_state, 0.0, 1.0)
    final_state[3:] *= -1
    reversed_state = trajectory.advance(final_state, 1.0, 1.0)
    reversed_state[3:] *= -1
    assert np.max(np.abs(reversed_state - initial_state)) < 1e-12


def test_the_energy_error_of_leapfrog_does_not_grow() -> None:
    system = KEPLER | {"eccentricity": [0.5, 0.5]}
    solver = nbody(system=system, integrator="leapfrog", time_step=0.01, energy_tolerance=1e-2)
    batch = solver.solve_batch([sample_parameters(solver)], np.linspace(0.0, 200 * np.pi, 1001))
    assert batch.failures == [None]
    energy = batch.invariants["energy"][0]
    error = np.abs(energy / energy[0] - 1)
    assert np.max(error[500:]) < 1.05 * np.max(error[:500])


@pytest.mark.parametrize("kind", ["two_body", "three_body"])
def test_motion_in_the_plane_equals_motion_in_space(kind: str) -> None:
    planar_solver, spatial_solver = (
        nbody(dimension=dimension, system=SYSTEMS[kind]["system"]) for dimension in (2, 3)
    )
    parameters = sample_parameters(planar_solver)
    state_in_space = state_after(spatial_solver.prepare(parameters), 0.5, 2)
    assert np.array_equal(
        state_after(planar_solver.prepare(parameters), 0.5, 2), state_in_space[[0, 1, 3, 4]]
    )
    assert not np.any(state_in_space[[2, 5]])


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize("kind", ["three_body", "plummer"])
def test_the_residual_agrees_with_the_equation(kind: str, convert: Callable[[np.ndarray], Any]) -> None:
    # The residual is zero to round-off if the derivatives are the exact accelerations.
    solver = nbody(**SYSTEMS[kind], gravitational_constant=0.7)
    trajectory = prepare_trajectory(solver)
    state = state_after(trajectory, 0.1)
    mass, dimension = masses(trajectory), len(state) // 2
    exact_derivatives = np.concatenate(
        [state[dimension:], accelerations(state[:dimension], 0.7 * mass, SYSTEMS[kind].get("softening", 0.0))]
    )
    names = solver.spec.channels
    fields = {name: convert(np.stack([row, row])) for name, row in zip(names, state, strict=True)}
    rates = {
        id(fields[name]): convert(np.stack([row, row]))
        for name, row in zip(names, exact_derivatives, strict=True)
    }
    fields["mass"] = convert(np.stack([mass, mass]))
    residuals = solver.residual(fields, lambda values, _: rates[id(values)], {})
    assert len(residuals) == 2 * dimension
    assert all(tuple(value.shape) == (2, mass.size) for value in residuals.values())
    assert max(float(abs(value).max()) for value in residuals.values()) < 1e-12 * np.max(
        np.abs(exact_derivatives)
    )
