"""The residual of solved flows, with correct and with wrong terms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from solvers.contract import Parameters
from solvers.navier_stokes import NavierStokes
from tests.support.navier_stokes_cases import flow, sample_parameters, spectral_derivative

#: A flow with waves so long that the truncation of their products is below 1e-9.
SMOOTH_FLOW: dict[str, Any] = {
    "extent": [1.0, 0.8],
    "resolution": [96, 80],
    "viscosity": [3e-3, 3e-3],
    "hyperviscosity": {"order": 3, "range": [1e-8, 1e-8]},
    "drag": [0.5, 0.5],
    "initial": {"kind": "random_field", "amplitude": [3.0, 3.0], "modes": 4, "correlation_length": 0.2},
    "tracer": {"present": True, "diffusivity": [3e-3, 3e-3], "modes": 4, "correlation_length": 0.2},
    "time_step": 2e-3,
}
LINEAR_TERMS = ("viscosity", "hyperviscosity", "drag", "tracer_diffusivity")
FORCINGS: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "kolmogorov": {"kind": "kolmogorov", "amplitude": [2.0, 2.0], "wave_number": 2},
    "diagonal": {"kind": "diagonal", "amplitude": [2.0, 2.0]},
}
TIME_STEP = 4e-3
#: Weights of the time derivative (1/s) of sixth order in the middle of seven frames.
DERIVATIVE_WEIGHTS = np.array([-1, 9, -45, 0, 45, -9, 1]) / (60 * TIME_STEP)


def derivative(values: np.ndarray, axis: str) -> np.ndarray:
    """Return the derivative of seven frames of `SMOOTH_FLOW`, but along t only of the middle frame."""
    if axis == "t":
        return np.tensordot(DERIVATIVE_WEIGHTS, values, axes=1)[None]
    array_axis, length = {"x": (-2, 1.0), "y": (-1, 0.8)}[axis]
    return spectral_derivative(values, array_axis, length)


def solve_frames(solver: NavierStokes, parameters: Parameters) -> dict[str, np.ndarray]:
    """Return the fields of seven frames by channel."""
    trajectory = solver.prepare(parameters)
    frames = [trajectory.advance(trajectory.initial_state, 0.0, 0.1)]
    for index in range(6):
        frames.append(trajectory.advance(frames[-1], 0.1 + index * TIME_STEP, TIME_STEP))
    channels = np.swapaxes(np.array(frames), 0, 1)
    fields = dict(zip(solver.spec.channels, channels, strict=True))
    for name in solver.spec.coefficient_channels:
        fields[name] = trajectory.coefficient_fields
    return fields


def relative_residuals(
    solver: NavierStokes, fields: dict[str, np.ndarray], parameters: Parameters
) -> dict[str, float]:
    """Return the norm of each residual in the middle frame, relative to a term of its equation."""
    scales = {
        "divergence": derivative(fields["velocity_x"], "x"),
        "curl": fields["vorticity"],
        "vorticity": derivative(fields["vorticity"], "t"),
        "tracer": derivative(fields["tracer"], "t"),
    }
    residuals = solver.residual(fields, derivative, parameters)
    assert residuals.keys() == scales.keys()
    return {
        name: float(np.linalg.norm(residual[len(residual) // 2]) / np.linalg.norm(scales[name][0]))
        for name, residual in residuals.items()
    }


@pytest.mark.parametrize(
    ("forcing", "terms"),
    [
        ("none", ()),
        *(("none", (term,)) for term in LINEAR_TERMS),
        ("kolmogorov", ()),
        ("diagonal", ()),
        ("kolmogorov", LINEAR_TERMS),
        ("diagonal", LINEAR_TERMS),
    ],
)
def test_the_residual_of_a_solved_flow_is_zero_unless_a_term_is_wrong(
    forcing: str, terms: tuple[str, ...]
) -> None:
    solver = flow(**SMOOTH_FLOW, forcing=FORCINGS[forcing])
    parameters = sample_parameters(solver) | {term: 0.0 for term in LINEAR_TERMS if term not in terms}
    fields = solve_frames(solver, parameters)
    exact_norms = relative_residuals(solver, fields, parameters)
    assert max(exact_norms.values()) < 1e-8
    for term in terms:
        equation = "tracer" if term == "tracer_diffusivity" else "vorticity"
        wrong_norms = relative_residuals(solver, fields, parameters | {term: 1.01 * parameters[term]})
        assert wrong_norms.pop(equation) > 5e-5
        assert all(wrong_norms[name] == exact_norms[name] for name in wrong_norms)
    for name in fields.keys() & {"velocity_x", "velocity_y", "forcing"}:
        wrong_norms = relative_residuals(solver, fields | {name: 1.01 * fields[name]}, parameters)
        affected = {"vorticity"} if name == "forcing" else wrong_norms.keys()
        assert all(wrong_norms[equation] > 1e-3 for equation in affected)
