"""The residual of solved trajectories of bodies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.nbody_cases import KEPLER, SPHERE, masses, nbody, prepare_trajectory

TIME_STEP = 1e-3
#: Weights of the time derivative (1/s) of sixth order in the middle of seven frames.
DERIVATIVE_WEIGHTS = np.array([-1, 9, -45, 0, 45, -9, 1]) / (60 * TIME_STEP)


@pytest.mark.parametrize(
    "integrator", [{"accuracy": 1e-4}, {"integrator": "yoshida4", "time_step": TIME_STEP / 4}]
)
@pytest.mark.parametrize(
    "changes",
    [
        {"system": KEPLER | {"eccentricity": [0.5, 0.5], "mass_ratio": [0.4, 0.4]}},
        {
            "dimension": 3,
            "softening": 0.1,
            "system": SPHERE | {"kind": "cold_collapse", "num_bodies": 30, "mass_ratio": [0.5, 2.0]},
        },
    ],
    ids=["two_body", "cold_collapse"],
)
def test_the_residual_is_zero_along_a_trajectory_and_not_with_wrong_masses(
    changes: dict[str, Any], integrator: dict[str, Any]
) -> None:
    solver = nbody(**changes, **integrator, gravitational_constant=0.7)
    trajectory = prepare_trajectory(solver)
    frames = [trajectory.advance(trajectory.initial_state, 0.0, 0.1)]
    for step in range(6):
        frames.append(trajectory.advance(frames[-1], 0.1 + step * TIME_STEP, TIME_STEP))
    names = solver.spec.channels
    fields = dict(zip(names, np.swapaxes(np.array(frames), 0, 1), strict=True))
    rates = {id(fields[name]): np.tensordot(DERIVATIVE_WEIGHTS, fields[name], axes=1)[None] for name in names}

    def relative_residuals(mass: np.ndarray) -> dict[str, float]:
        """Return the norm of each residual in the middle frame, relative to its time derivative."""
        residuals = solver.residual(fields | {"mass": mass}, lambda values, _: rates[id(values)], {})
        scales = {
            f"{'gravity' if name.startswith('velocity') else 'motion'}_{name[-1]}": rate[0]
            for name, rate in zip(names, rates.values(), strict=True)
        }
        return {
            name: float(np.linalg.norm(residual[3]) / np.linalg.norm(scales[name]))
            for name, residual in residuals.items()
        }

    mass = masses(trajectory)
    exact_norms = relative_residuals(mass)
    assert len(exact_norms) == len(names)
    assert max(exact_norms.values()) < 1e-8, exact_norms
    wrong_norms = relative_residuals(1.01 * mass)
    assert all(wrong_norms[name] == exact_norms[name] for name in wrong_norms if name.startswith("motion"))
    assert all(
        wrong_norms[name] == pytest.approx(0.01, rel=1e-3)
        for name in wrong_norms
        if name.startswith("gravity")
    )
