"""Solved trajectories of bodies fulfil the equation that the residual writes down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.nbody_cases import KEPLER, SPHERE, nbody, sampled

STEP = 1e-3
#: The derivative in the middle of seven values, of sixth order.
SLOPE = np.array([-1, 9, -45, 0, 45, -9, 1]) / (60 * STEP)


@pytest.mark.parametrize("integrator", [{}, {"integrator": "yoshida4", "time_step": STEP / 4}])
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
def test_a_solved_trajectory_leaves_no_residual_but_where_a_mass_is_wrong(
    changes: dict[str, Any], integrator: dict[str, Any]
) -> None:
    solver = nbody(**changes, **{"accuracy": 1e-4} | integrator, gravitational_constant=0.7)
    parameters = sampled(solver)
    frames = [solver.advance(solver.initial_state(parameters), parameters, 0.0, 0.1)]
    for number in range(6):
        frames.append(solver.advance(frames[-1], parameters, 0.1 + number * STEP, STEP))
    names = [field.name for field in solver.spec.fields]
    fields = dict(zip(names, np.swapaxes(np.array(frames), 0, 1), strict=True))
    rates = {id(fields[name]): np.tensordot(SLOPE, fields[name], axes=1)[None] for name in names}

    def left_over(mass: np.ndarray) -> dict[str, float]:
        """Each residual in the middle frame, over the rate of change that it balances."""
        residuals = solver.residual(fields | {"mass": mass}, lambda values, _: rates[id(values)], parameters)
        scales = zip(names, rates.values(), strict=True)
        sizes = {
            f"gravity_{name[-1]}" if name.startswith("velocity") else f"motion_{name}": rate[0]
            for name, rate in scales
        }
        return {
            name: float(np.linalg.norm(left[3]) / np.linalg.norm(sizes[name]))
            for name, left in residuals.items()
        }

    mass = solver.coefficients(parameters)[0]
    exact = left_over(mass)
    assert len(exact) == len(names)
    assert max(exact.values()) < 1e-8, exact
    wrong = left_over(1.01 * mass)
    assert all(wrong[name] == exact[name] for name in wrong if name.startswith("motion"))
    assert all(wrong[name] == pytest.approx(0.01, rel=1e-3) for name in wrong if name.startswith("gravity"))
