"""Heat conduction compared with exact solutions, in each dimension and for each boundary condition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from simsurrogate.spec import DIRECTIONS
from solvers.heat import Heat
from tests.support.heat_cases import (
    CONDITIONS,
    final_state,
    heat,
    observed_order,
    on_cells,
    prepare_trajectory,
    relative_error,
    tight_tolerance,
)

K = 0.1
DURATION = 0.3
EXTENT = [1.0, 0.7, 1.3]
# Nonzero temperatures or fluxes at the lower and the upper end of each axis.
VALUES = {"x": [1.0, 2.0], "y": [-0.5, 0.25], "z": [0.3, 0.6]}
NO_VALUES = {direction: [0.0, 0.0] for direction in DIRECTIONS}

COMBINATIONS = [
    conditions
    for dimension in (1, 2, 3)
    for conditions in itertools.product(CONDITIONS, repeat=dimension)
    if dimension < 3 or conditions in {CONDITIONS, ("neumann",) * 3, ("dirichlet",) * 3}
]


def build_box(
    conditions: tuple[str, ...], resolution: int, scheme: str, values: dict[str, list[float]]
) -> Heat:
    """Return a box with constant k = 0.1 m^2/s and these boundary conditions."""
    return heat(
        extent=EXTENT[: len(conditions)],
        resolution=resolution,
        boundary=dict(zip(DIRECTIONS, conditions, strict=False)),
        boundary_values=values,
        diffusivity={"kind": "constant"},
        scheme=scheme,
        **tight_tolerance(scheme),
    )


def wave(condition: str, length: float, x: np.ndarray) -> tuple[np.ndarray, float]:
    """Return a mode that meets the homogeneous condition, and its wave number."""
    if condition == "periodic":
        wave_number = 2 * np.pi / length
        return np.sin(wave_number * x + 0.3), wave_number
    wave_number = np.pi / length
    return (np.sin if condition == "dirichlet" else np.cos)(wave_number * x), wave_number


def decaying_solution(conditions: tuple[str, ...], time: float, *mesh: np.ndarray) -> np.ndarray:
    """Return a product of modes, which decays at the rate k times the sum of the squared wave numbers."""
    factors = [
        wave(condition, EXTENT[axis], x)
        for axis, (condition, x) in enumerate(zip(conditions, mesh, strict=True))
    ]
    rate = K * sum(wave_number**2 for _, wave_number in factors)
    return np.exp(-rate * time) * np.prod([values for values, _ in factors], axis=0)


def driven_solution(conditions: tuple[str, ...], axis: int, time: float, *mesh: np.ndarray) -> np.ndarray:
    """Return the solution driven by the walls of one axis: a linear profile, or a parabola with fluxes."""
    lower, upper = VALUES[DIRECTIONS[axis]]
    length, x = EXTENT[axis], mesh[axis]
    if conditions[axis] == "dirichlet":
        return lower + (upper - lower) * x / length
    slope, curvature = -lower / K, (upper + lower) / (K * length)
    return slope * x + curvature * x**2 / 2 + K * curvature * time


def state_after(solver: Heat, start_state: np.ndarray) -> np.ndarray:
    return prepare_trajectory(solver, diffusivity=K).advance(start_state, 0.0, DURATION)


@pytest.mark.parametrize("scheme", ["exact", "adi", "rkl2"])
@pytest.mark.parametrize("conditions", COMBINATIONS)
def test_schemes_are_of_second_order_in_space(conditions: tuple[str, ...], scheme: str) -> None:
    # The exact solution is known if only the walls of one axis drive it and no other axis is dirichlet.
    axes_with_walls = [axis for axis, condition in enumerate(conditions) if condition != "periodic"]
    driving_axis = (
        axes_with_walls[0]
        if axes_with_walls and "dirichlet" not in [conditions[axis] for axis in axes_with_walls[1:]]
        else None
    )
    values = NO_VALUES | (
        {} if driving_axis is None else {DIRECTIONS[driving_axis]: VALUES[DIRECTIONS[driving_axis]]}
    )

    def exact_solution(time: float, *mesh: np.ndarray) -> np.ndarray:
        driven_temperature = (
            0.0 if driving_axis is None else driven_solution(conditions, driving_axis, time, *mesh)
        )
        return decaying_solution(conditions, time, *mesh) + driven_temperature

    errors = []
    for resolution in (8, 16) if len(conditions) == 3 else (16, 32):
        solver = build_box(conditions, resolution, scheme, values)
        end_state = state_after(solver, on_cells(solver, lambda *mesh: exact_solution(0.0, *mesh)))
        errors.append(
            relative_error(end_state, on_cells(solver, lambda *mesh: exact_solution(DURATION, *mesh)))
        )
    assert observed_order(errors) == pytest.approx(solver.order_in_space, abs=0.2)
    assert errors[-1] < 0.02


@pytest.mark.parametrize("condition", ["dirichlet", "neumann"])
def test_solutions_driven_along_all_axes_are_exact(condition: str) -> None:
    # Walls that drive all axes have a simple solution for equal temperatures and for any fluxes.
    values = VALUES if condition == "neumann" else {direction: [1.5, 1.5] for direction in DIRECTIONS}
    conditions = (condition,) * 3

    def exact_solution(time: float, *mesh: np.ndarray) -> np.ndarray:
        if condition == "dirichlet":
            return 1.5 + decaying_solution(conditions, time, *mesh)
        return sum(driven_solution(conditions, axis, time, *mesh) for axis in range(3))

    solver = build_box(conditions, 16, "exact", values)
    end_state = state_after(solver, on_cells(solver, lambda *mesh: exact_solution(0.0, *mesh)))
    assert relative_error(end_state, on_cells(solver, lambda *mesh: exact_solution(DURATION, *mesh))) < 1e-3


@pytest.mark.parametrize(
    "conditions", [("periodic",), ("dirichlet", "neumann"), ("neumann", "periodic", "dirichlet")]
)
def test_the_exact_scheme_has_no_error_in_time(conditions: tuple[str, ...]) -> None:
    trajectory = prepare_trajectory(build_box(conditions, 12, "exact", VALUES))
    single_step = final_state(trajectory, 1.0)
    state = trajectory.initial_state
    for step in range(10):
        state = trajectory.advance(state, step * 0.1, 0.1)
    assert relative_error(state, single_step) < 1e-13


def test_two_layers_conduct_exactly() -> None:
    # With k = 0.1 in the left half and 0.5 in the right half, equal fluxes require slopes of 5 : 1.
    solver = heat(
        extent=[1.0],
        resolution=20,
        boundary={"x": "dirichlet"},
        boundary_values={"x": [0.0, 6.0]},
        diffusivity={"kind": "inclusions", "num_inclusions": 1},
        tolerance=1e-10,
    )
    trajectory = prepare_trajectory(
        solver,
        matrix_diffusivity=0.1,
        contrast=5.0,
        inclusion_centres=np.array([[1.0]]),
        inclusion_radii=np.array([0.5]),
    )
    steady_state = on_cells(solver, lambda x: np.where(x < 0.5, 10 * x, 4 + 2 * x))
    assert np.allclose(trajectory.advance(steady_state, 0.0, 1.0), steady_state, rtol=0, atol=1e-12)
    state_from_rest = trajectory.advance(np.zeros_like(steady_state), 0.0, 60.0)
    assert np.allclose(state_from_rest, steady_state, rtol=0, atol=1e-6)
