"""Trajectories of bodies that fail, and options that the solver refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simsurrogate.errors import UserError
from solvers.contract import DivergedError, Parameters
from solvers.nbody import NBody
from tests.support.nbody_cases import (
    KEPLER,
    SPHERE,
    nbody,
    prepare_trajectory,
    sample_parameters,
    state_after,
)

#: Three bodies at rest on one line, of which the second and the third collide.
HEAD_ON_COLLISION: Parameters = {"second_x": -0.2, "second_y": 0.0}


def failure_reason(solver: NBody, parameters: Parameters) -> str:
    """Return the reason for the failure of a trajectory, which `advance` and `solve_batch` report."""
    with pytest.raises(DivergedError) as error:
        state_after(solver.prepare(parameters), 2.0, 2)
    regular_parameters = sample_parameters(solver)
    batch = solver.solve_batch([regular_parameters, parameters, regular_parameters], np.linspace(0.0, 2.0, 3))
    assert batch.failures == [batch.failures[0], str(error.value), batch.failures[0]]
    return str(error.value)


def test_a_collision_fails_with_the_time_and_the_separation() -> None:
    message = failure_reason(nbody(), HEAD_ON_COLLISION)
    assert message.startswith("two bodies collide or values are not finite before time 1 s; the smallest")
    assert float(message.rpartition("separation is ")[2].removesuffix(" m")) < 1e-14


def test_a_collision_ends_at_the_bound_on_steps() -> None:
    solver = nbody(max_steps=2000)
    assert failure_reason(solver, HEAD_ON_COLLISION).startswith(
        "more than solver.max_steps=2000 steps are needed up to 1 s; the smallest"
    )
    counts = solver.solve_batch([HEAD_ON_COLLISION], np.linspace(0.0, 2.0, 3)).counts
    assert counts["steps"] >= 2000
    assert counts["close_encounters"] > 0


def test_close_encounters_are_resolved() -> None:
    # Bodies come within 1e-6 m in 11 % of the systems, where plain sums would lose the energy.
    solver = nbody(max_steps=100_000)
    batch = solver.solve_batch(
        [sample_parameters(solver, seed) for seed in range(300)], np.linspace(0.0, 3.9, 101)
    )
    assert sum(failure_reason is not None for failure_reason in batch.failures) <= 6
    assert batch.counts["close_encounters"] > 300


def test_softened_bodies_pass_through_each_other() -> None:
    trajectory = nbody(softening=0.01).prepare(HEAD_ON_COLLISION)
    final_state = state_after(trajectory, 2.0, 20)
    assert np.all(np.isfinite(final_state))
    assert not np.any(final_state[[1, 3]])
    assert 0 < trajectory.counts["close_encounters"] < 20


def test_coinciding_bodies_need_softening() -> None:
    coinciding_bodies = {"second_x": -0.5, "second_y": 0.0}
    assert "two bodies coincide at time 0" in failure_reason(nbody(), coinciding_bodies)
    solver = nbody(softening=0.01)
    assert np.all(np.isfinite(state_after(solver.prepare(coinciding_bodies), 0.5)))


def test_a_step_that_is_too_long_fails_by_its_energy_error() -> None:
    eccentric_orbit = KEPLER | {"eccentricity": [0.95, 0.95]}
    solver = nbody(system=eccentric_orbit, integrator="leapfrog", time_step=0.1)
    with pytest.raises(DivergedError, match=r"the relative error of the energy is .* at time 6.3 s"):
        state_after(prepare_trajectory(solver), 6.3)
    batch = solver.solve_batch([sample_parameters(solver)], np.array([0.0, 6.3]))
    assert "energy_tolerance=0.0001" in str(batch.failures[0])


def test_the_energy_bound_refers_to_time_zero() -> None:
    # Errors of several frames do not accumulate beyond the bound.
    solver = nbody(system=KEPLER, energy_tolerance=1e-3)
    trajectory = prepare_trajectory(solver)
    state = trajectory.initial_state.copy()
    state[2:] *= 1 + 1e-2
    trajectory.advance(state, 0.0, 0.1)  # the reference is the energy at time 0
    with pytest.raises(DivergedError, match="the relative error of the energy is"):
        trajectory.advance(state, 0.1, 0.1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("time", [0.0, 0.1])
@pytest.mark.parametrize("nonfinite_value", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize(
    "changes", [{}, {"integrator": "yoshida4", "time_step": 0.01}], ids=["hermite4", "yoshida4"]
)
def test_values_that_are_not_finite_end_the_trajectory(
    changes: dict[str, Any], nonfinite_value: float, time: float
) -> None:
    solver = nbody(**changes)
    trajectory = prepare_trajectory(solver)
    state = trajectory.initial_state.copy()
    state[3, 1] = nonfinite_value
    with pytest.raises(DivergedError):
        trajectory.advance(state, time, 0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system": {"total_mass": 0.0}}, r"solver.system.total_mass=0.0.*greater than 0"),
        ({"system": {"total_mass": -1.0}}, r"solver.system.total_mass=-1.0.*greater than 0"),
        ({"system": {"mass_ratio": [0.0, 1.0]}}, r"solver.system.mass_ratio=\[0.0, 1.0\].*greater than 0"),
        (
            {"system": {"mass_ratio": [2.0, 1.0]}},
            r"solver.system.mass_ratio=\[2, 1\].*lower end must come first",
        ),
        ({"system": KEPLER | {"radius": [-1.0, 1.0]}}, r"solver.system.radius=\[-1.0, 1.0\].*greater than 0"),
        (
            {"system": KEPLER | {"eccentricity": [0.0, 1.0]}},
            r"solver.system.eccentricity=\[0.0, 1.0\].*less than 1",
        ),
        (
            {"system": {"kind": "figure_eight", "perturbation": [-0.1, 0.1]}},
            r"solver.system.perturbation=\[-0.1, 0.1\].*at least 0",
        ),
        (
            {"system": SPHERE | {"kind": "cold_collapse", "virial_ratio": [-0.1, 0.1]}},
            r"solver.system.virial_ratio=\[-0.1, 0.1\].*at least 0",
        ),
        (
            {"system": {"kind": "plummer", "num_bodies": 1}},
            r"solver.system.num_bodies=1.*at least 2",
        ),
        ({"system": {"kind": "four_body"}}, r"solver.system.kind='four_body'"),
        ({"system": KEPLER | {"eccentricities": [0.0, 0.5]}}, r"no such key; did you mean 'eccentricity'"),
        (
            {"system": SPHERE | {"kind": "plummer"}},
            r"dimension=2 is too small for .*plummer.*Type solver.dimension=3",
        ),
        (
            {"system": SPHERE | {"kind": "cold_collapse"}},
            r"too small for .*cold_collapse.*Type solver.dimension=3",
        ),
        ({"dimension": 4}, r"solver.dimension=4 .*must be 2 or 3"),
        ({"softening": -0.1}, r"solver.softening=-0.1.*at least 0"),
        ({"gravitational_constant": 0.0}, r"solver.gravitational_constant=0.0.*greater than 0"),
        ({"integrator": "rk4"}, r"solver.integrator='rk4'.*hermite4 or leapfrog or yoshida4"),
        (
            {"integrator": "leapfrog"},
            r"integrator=leapfrog .*needs a fixed step.*Type solver.time_step",
        ),
        ({"integrator": "yoshida4", "time_step": 0.0}, r"solver.time_step=0.0.*greater than 0"),
        ({"time_step": 0.1}, r"solver.time_step=0.1 has no effect with"),
        ({"integrator": "leapfrog", "time_step": 0.1, "accuracy": 0.1}, r"solver.accuracy=0.1 has no effect"),
        ({"integrator": "yoshida4", "time_step": 0.1, "max_steps": 7}, r"solver.max_steps=7 has no effect"),
        ({"system": {"eccentricity": [0.1, 0.2]}}, r"solver.system.eccentricity=.* belongs to kind=two_body"),
        ({"system": KEPLER | {"num_bodies": 9}}, r"num_bodies=9 .*kind=plummer and kind=cold_collapse"),
        ({"accuracy": 0.0}, r"solver.accuracy=0.0.*greater than 0"),
        ({"energy_tolerance": 0.0}, r"solver.energy_tolerance=0.0.*greater than 0"),
        ({"max_steps": 0}, r"solver.max_steps=0.*at least 1"),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        nbody(**changes)
