"""Trajectories of bodies that fail, and what the solver refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from solvers.contract import DivergedError, Parameters
from solvers.nbody import NBody
from tests.support.nbody_cases import KEPLER, SPHERE, advanced, nbody, sampled

#: On one line, from rest: the second and the third body fall into each other.
HEAD_ON: Parameters = {"second_x": -0.2, "second_y": 0.0}


def reason(solver: NBody, parameters: Parameters) -> str:
    """Why both `advance` and `solve` fail this trajectory, and not the one before it."""
    with pytest.raises(DivergedError) as raised:
        advanced(solver, parameters, 2.0, 2)
    good = sampled(solver)
    found = solver.solve([good, parameters, good], np.linspace(0.0, 2.0, 3))
    assert found.failures == [found.failures[0], str(raised.value), found.failures[0]]
    return str(raised.value)


def test_a_collision_fails_with_the_time_and_the_separation() -> None:
    found = reason(nbody(), HEAD_ON)
    assert found.startswith("two bodies collide, or numbers are not finite, before time 1 s; the smallest")
    assert float(found.rpartition("met is ")[2].removesuffix(" m")) < 1e-14


def test_a_collision_ends_at_the_bound_on_steps() -> None:
    solver = nbody(max_steps=2000)
    assert reason(solver, HEAD_ON).startswith("more than max_steps=2000 steps before time 1 s; the smallest")
    assert solver.counts["steps"] >= 2000
    assert solver.counts["close_encounters"] > 0


def test_close_encounters_are_followed() -> None:
    """Of three bodies from rest 11 % come within 1e-6 m, where round-off at 1e-16 would lose their energy."""
    solver = nbody(max_steps=100_000)
    found = solver.solve([sampled(solver, seed) for seed in range(300)], np.linspace(0.0, 3.9, 101))
    assert sum(reason is not None for reason in found.failures) <= 6
    assert solver.counts["close_encounters"] > 300


def test_softened_bodies_pass_through_each_other() -> None:
    solver = nbody(softening=0.01)
    end = advanced(solver, HEAD_ON, 2.0, 20)
    assert np.all(np.isfinite(end))
    assert not np.any(end[[1, 3]])
    assert 0 < solver.counts["close_encounters"] < 20


def test_bodies_that_coincide_have_no_trajectory_but_with_softening() -> None:
    coinciding = {"second_x": -0.5, "second_y": 0.0}
    assert "two bodies coincide at time 0" in reason(nbody(), coinciding)
    solver = nbody(softening=0.01)
    assert np.all(np.isfinite(advanced(solver, coinciding, 0.5)))


def test_a_step_that_is_too_long_loses_the_energy() -> None:
    eccentric = KEPLER | {"eccentricity": [0.95, 0.95]}
    solver = nbody(system=eccentric, integrator="leapfrog", time_step=0.1)
    with pytest.raises(DivergedError, match=r"the energy is wrong by .* of its initial value at time 6.3 s"):
        advanced(solver, sampled(solver), 6.3)
    found = solver.solve([sampled(solver)], np.array([0.0, 6.3]))
    assert "energy_tolerance=0.0001" in str(found.failures[0])


def test_the_energy_to_keep_is_that_at_time_zero() -> None:
    """Frames that each keep the energy within its bound do not add up to more than that."""
    solver = nbody(system=KEPLER, energy_tolerance=1e-3)
    parameters = sampled(solver)
    state = solver.initial_state(parameters)
    state[2:] *= 1 + 1e-2
    solver.advance(state, parameters, 0.0, 0.1)  # another trajectory, that begins here
    with pytest.raises(DivergedError, match="the energy is wrong by"):
        solver.advance(state, parameters, 0.1, 0.1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("time", [0.0, 0.1])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize(
    "changes", [{}, {"integrator": "yoshida4", "time_step": 0.01}], ids=["hermite4", "yoshida4"]
)
def test_numbers_that_are_not_finite_are_a_diverged_trajectory(
    changes: dict[str, Any], bad: float, time: float
) -> None:
    solver = nbody(**changes)
    parameters = sampled(solver)
    state = solver.initial_state(parameters)
    state[3, 1] = bad
    with pytest.raises(DivergedError):
        solver.advance(state, parameters, time, 0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system": {"total_mass": 0.0}}, r"solver.system.total_mass=0.0.*greater than 0"),
        ({"system": {"total_mass": -1.0}}, r"solver.system.total_mass=-1.0.*greater than 0"),
        ({"system": {"mass_ratio": [0.0, 1.0]}}, r"solver.system.mass_ratio.0=0.0.*greater than 0"),
        ({"system": {"mass_ratio": [2.0, 1.0]}}, r"system.mass_ratio=\[2, 1\]: the lower end comes first"),
        ({"system": {"radius": [-1.0, 1.0]}}, r"solver.system.radius.0=-1.0.*greater than 0"),
        ({"system": {"eccentricity": [0.0, 1.0]}}, r"solver.system.eccentricity.1=1.0.*less than 1"),
        ({"system": {"perturbation": [-0.1, 0.1]}}, r"solver.system.perturbation.0=-0.1.*equal to 0"),
        ({"system": {"virial_ratio": [-0.1, 0.1]}}, r"solver.system.virial_ratio.0=-0.1.*equal to 0"),
        ({"system": {"num_bodies": 1}}, r"solver.system.num_bodies=1.*greater than or equal to 2"),
        ({"system": {"kind": "four_body"}}, r"solver.system.kind='four_body'.*'two_body', 'three_body'"),
        ({"system": {"eccentricities": [0.0, 0.5]}}, r"no such key; did you mean 'eccentricity'"),
        ({"system": SPHERE | {"kind": "plummer"}}, r"dimension=2: .*plummer is a sphere; use dimension=3"),
        ({"system": SPHERE | {"kind": "cold_collapse"}}, r"cold_collapse is a sphere; use dimension=3"),
        ({"dimension": 4}, r"solver.dimension=4: input should be 2 or 3"),
        ({"softening": -0.1}, r"solver.softening=-0.1.*greater than or equal to 0"),
        ({"gravitational_constant": 0.0}, r"solver.gravitational_constant=0.0.*greater than 0"),
        ({"integrator": "rk4"}, r"solver.integrator='rk4'.*'hermite4', 'leapfrog' or 'yoshida4'"),
        ({"integrator": "leapfrog"}, r"integrator=leapfrog needs a time_step, s"),
        ({"integrator": "yoshida4", "time_step": 0.0}, r"solver.time_step=0.0.*greater than 0"),
        ({"time_step": 0.1}, r"time_step=0.1 s has no use: hermite4 adapts its step; change accuracy"),
        ({"accuracy": 0.0}, r"solver.accuracy=0.0.*greater than 0"),
        ({"energy_tolerance": 0.0}, r"solver.energy_tolerance=0.0.*greater than 0"),
        ({"max_steps": 0}, r"solver.max_steps=0.*greater than or equal to 1"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nbody(**changes)
