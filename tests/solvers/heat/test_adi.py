"""Alternating directions: line solves, order, error control and stability of large steps."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from solvers.contract import DivergedError
from solvers.heat.operator import DiffusionOperator, wall_terms
from solvers.heat.schemes.adi import AlternatingDirections, damping_weights
from solvers.heat.tridiagonal import factorise, solve
from solvers.numerics.grid import Grid
from tests.support.heat_cases import (
    CONDITIONS,
    ZERO_WALL_VALUES,
    final_state,
    heat,
    mesh,
    observed_order,
    operator_matrix,
    prepare_trajectory,
    random_diffusivity,
    relative_error,
    semi_discrete_solution,
    unit_grid,
)

SHAPES = {1: (30,), 2: (13, 11), 3: (7, 6, 5)}
VALUES = ((1.0, 2.0), (0.5, -0.5), (-1.0, 0.3))


class CountingScheme(AlternatingDirections):
    """Alternating directions with a count of the accepted steps."""

    num_steps = 0

    def _try_step(
        self, temperature: np.ndarray, step: float, track_heat: bool
    ) -> tuple[np.ndarray, float, float, float]:
        change, heat_supplied, error_ratio, factor = super()._try_step(temperature, step, track_heat)
        self.num_steps += error_ratio <= 1
        return change, heat_supplied, error_ratio, factor


def build_adi(
    grid: Grid,
    k: np.ndarray,
    values: tuple[tuple[float, float], ...] = ZERO_WALL_VALUES,
    time_step: float | None = None,
    tolerance: float = 1e-6,
) -> CountingScheme:
    return CountingScheme(DiffusionOperator(grid, k), wall_terms(grid, values, k), time_step, tolerance)


def smooth_diffusivity(grid: Grid) -> np.ndarray:
    coordinates = mesh(grid)
    k: np.ndarray = np.exp(0.5 * np.sin(2 * np.pi * (coordinates[0] + 0.3 * coordinates[-1])))
    return k


@pytest.mark.parametrize("is_periodic", [False, True])
@pytest.mark.parametrize("num_cells", [2, 3, 4, 17])
def test_line_solves_agree_with_dense_matrices(num_cells: int, is_periodic: bool) -> None:
    rng = np.random.default_rng(0)
    num_lines, a = 300, 0.7
    c = rng.uniform(0.1, 20, (num_cells + 1, num_lines))
    c[-1] = c[0] if is_periodic else c[-1]
    right_side = rng.standard_normal((num_cells, num_lines))
    inverse, corner, solution = np.empty_like(right_side), np.empty_like(right_side), right_side.copy()
    factorise(inverse, corner, c, a, is_periodic)
    solve(solution, inverse, corner, c, a, is_periodic)
    for line in range(num_lines):
        matrix = line_matrix(a * c[:, line], is_periodic)
        expected = np.linalg.solve(matrix, right_side[:, line])
        assert np.allclose(solution[:, line], expected, rtol=0, atol=1e-13)


def line_matrix(conductances: np.ndarray, is_periodic: bool) -> np.ndarray:
    """Return the matrix of one line from the conductances of its faces."""
    num_cells = len(conductances) - 1
    matrix = np.eye(num_cells)
    for face, conductance in enumerate(conductances):
        lower_cell, upper_cell = face - 1, face
        if is_periodic and face == num_cells:
            continue
        if is_periodic:
            lower_cell %= num_cells
        for cell, neighbour in ((lower_cell, upper_cell), (upper_cell, lower_cell)):
            if 0 <= cell < num_cells:
                matrix[cell, cell] += conductance
                if 0 <= neighbour < num_cells:
                    matrix[cell, neighbour] -= conductance
    return matrix


@pytest.mark.parametrize(
    "conditions",
    [
        *itertools.product(CONDITIONS, repeat=1),
        *itertools.product(CONDITIONS, repeat=2),
        CONDITIONS,
        CONDITIONS[::-1],
    ],
)
def test_declared_steps_are_of_second_order(conditions: tuple[str, ...]) -> None:
    grid = unit_grid(SHAPES[len(conditions)], *conditions)
    k = smooth_diffusivity(grid)
    scheme = build_adi(grid, k, VALUES)
    source = scheme.walls.supply + 20 * k
    # The initial state is smooth at the walls.
    start_state = semi_discrete_solution(scheme.operator, np.zeros(grid.block_shape), source, 0.02)
    expected = semi_discrete_solution(scheme.operator, start_state, source, 0.05)
    errors = []
    for num_steps in (8, 16, 32):
        end_state = build_adi(grid, k, VALUES, 0.05 / num_steps).advance(start_state, source, 0.05)
        errors.append(relative_error(end_state - start_state, expected - start_state))
    assert observed_order(errors) == pytest.approx(2, abs=0.2)
    assert errors[-1] < 2e-3


@pytest.mark.parametrize("case", ["smooth", "jumps of k", "jump of u", "noise", "from rest"])
@pytest.mark.parametrize("conditions", [("periodic", "dirichlet"), ("neumann", "periodic", "dirichlet")])
def test_the_error_of_each_step_is_within_the_tolerance(conditions: tuple[str, ...], case: str) -> None:
    grid = unit_grid((20, 14) if len(conditions) == 2 else (8, 7, 6), *conditions)
    coordinates = mesh(grid)
    k = (
        np.where(coordinates[0] + coordinates[1] > 0.8, 1.0, 0.1)
        if case == "jumps of k"
        else smooth_diffusivity(grid)
    )
    start_state = np.cos(2 * np.pi * coordinates[0]) * np.sin(np.pi * coordinates[1])
    if case == "jump of u":
        start_state += coordinates[0] > 0.4
    elif case == "noise":
        start_state = np.random.default_rng(0).standard_normal(grid.block_shape)
    elif case == "from rest":
        start_state = np.zeros(grid.block_shape)
    values = (ZERO_WALL_VALUES[0], (0.0, 0.5), (0.5, 0.0))
    expected = None
    for tolerance in (1e-3, 1e-5, 1e-7):
        scheme = build_adi(grid, k, values, tolerance=tolerance)
        source = scheme.walls.supply
        if expected is None:
            expected = semi_discrete_solution(scheme.operator, start_state, source, 0.05)
        end_state = scheme.advance(start_state, source, 0.05)
        deviation = max(np.std(start_state), np.std(expected)) + 1e-10
        # Diffusion amplifies no error, so the error is at most the sum of the errors of the steps.
        allowed_error = scheme.num_steps * tolerance * deviation
        assert np.sqrt(np.mean((end_state - expected) ** 2)) < allowed_error, tolerance


@pytest.mark.parametrize("changes", [{}, {"diffusivity": {"kind": "inclusions", "contrast": [10.0, 10.0]}}])
@pytest.mark.parametrize("boundary", ["periodic", "dirichlet", "neumann"])
def test_adi_agrees_with_super_time_stepping(boundary: str, changes: dict[str, Any]) -> None:
    # The fields are the shipped fields or inclusions of contrast 10. Walls and heaters supply heat.
    options: dict[str, Any] = {
        "resolution": [40, 32],
        "boundary": {"x": boundary, "y": boundary},
        "boundary_values": {"x": [0.5, 1.0], "y": [0.3, -0.2]},
        "heaters": {"count": 2},
    } | changes
    adi_state, rkl2_state = (
        final_state(prepare_trajectory(heat(scheme=scheme, tolerance=tolerance, **options)), 0.06)
        for scheme, tolerance in (("adi", 1e-6), ("rkl2", 1e-8))
    )
    assert np.std(adi_state - rkl2_state) < 5e-6 * np.std(rkl2_state)


@pytest.mark.parametrize("noise", ["checkerboard", "white"])
def test_the_error_control_detects_faint_undamped_noise(noise: str) -> None:
    # The shortest waves decay within a hundredth of the duration.
    end_states = []
    for scheme, tolerance in (("adi", 1e-5), ("rkl2", 1e-7)):
        trajectory = prepare_trajectory(heat(scheme=scheme, tolerance=tolerance))
        start_state = trajectory.initial_state
        white_noise = np.random.default_rng(0).standard_normal(start_state.shape)
        waves = white_noise if noise == "white" else np.indices(start_state.shape).sum(0) % 2 * 2.0 - 1
        end_states.append(trajectory.advance(start_state + 1e-3 * np.std(start_state) * waves, 0.0, 0.005))
    assert np.std(end_states[0] - end_states[1]) < 1e-5 * np.std(end_states[1])


@pytest.mark.parametrize(
    "conditions", [("dirichlet",), ("dirichlet", "neumann"), ("periodic", "dirichlet", "neumann")]
)
def test_steady_states_are_kept_at_any_step(conditions: tuple[str, ...]) -> None:
    grid = unit_grid(SHAPES[len(conditions)], *conditions)
    scheme = build_adi(grid, random_diffusivity(grid), VALUES, time_step=10.0)
    source = scheme.walls.supply
    steady_state = -np.linalg.solve(operator_matrix(scheme.operator), source.ravel()).reshape(
        grid.block_shape
    )
    assert relative_error(scheme.advance(steady_state, source, 30.0), steady_state) < 1e-11


@pytest.mark.parametrize("num_results", [2, 3, 4])
def test_the_damping_weights_amplify_no_wave(num_results: int) -> None:
    # A step multiplies a wave of the decay rates x, y along two axes by 1 - 2 (x + y) / ((1 + x) (1 + y)).
    rates = np.concatenate([[0.0], np.logspace(-3, 8, 200)])
    amplification = np.zeros((201, 201))
    for num_parts, weight in enumerate(damping_weights(num_results), start=1):
        x, y = rates[:, None] / num_parts, rates / num_parts
        amplification += weight * (1 - 2 * (x + y) / ((1 + x) * (1 + y))) ** num_parts
    assert np.abs(amplification).max() <= 1 + 1e-12
    assert np.abs(amplification[0, -1]) < 1e-6


def test_long_steps_of_smooth_states_are_accepted() -> None:
    grid = unit_grid((96, 64), "periodic", "dirichlet")
    scheme = build_adi(grid, smooth_diffusivity(grid), VALUES, tolerance=1e-4)
    state = np.sin(2 * np.pi * grid.coordinates(0))[:, None] + 0 * grid.coordinates(1)
    state = scheme.advance(state, scheme.walls.supply, 0.01)
    scheme.num_steps = 0
    for _ in range(60):
        state = scheme.advance(state, scheme.walls.supply, 0.01)
    assert 0.01 * scheme.operator.spectral_bound > 500
    assert scheme.num_steps == 60


@hypothesis_settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 20), time_step=st.floats(1e-3, 10))
def test_large_steps_are_stable_for_rough_data(seed: int, steps: int, time_step: float) -> None:
    # Both Cayley transforms are contractions, so (1 - h A_2 / 2) u never grows.
    grid = unit_grid((24, 5), "neumann", "periodic")
    start_state = np.random.default_rng(seed).standard_normal(grid.block_shape)
    scheme = build_adi(grid, random_diffusivity(grid, seed), time_step=time_step)
    end_state = scheme.advance(start_state, None, steps * time_step)
    matrix_of_axis_1 = matrix_of_axis(scheme.operator, 1)
    norms = [
        np.linalg.norm(u.ravel() - time_step / 2 * matrix_of_axis_1 @ u.ravel())
        for u in (end_state, start_state)
    ]
    assert norms[0] <= norms[1] * (1 + 1e-10)
    assert end_state.mean() == pytest.approx(
        start_state.mean(), abs=1e-10 * time_step * scheme.operator.spectral_bound
    )


def matrix_of_axis(operator: DiffusionOperator, axis: int) -> np.ndarray:
    """Return the matrix of one axis, with zero conductances along the other axes."""
    faces = operator.faces
    operator.faces = tuple(face * (axis_of_face == axis) for axis_of_face, face in enumerate(faces))
    a = operator_matrix(operator)
    operator.faces = faces
    return a


def test_the_error_control_detects_growth_in_three_dimensions() -> None:
    # A step of 1000 / rho amplifies errors by 1.8: 60 steps amplify round-off beyond the solution.
    grid = unit_grid((8, 7, 6), "periodic", "periodic", "periodic")
    scheme = build_adi(grid, random_diffusivity(grid), tolerance=1e-4)
    duration = 1000 / scheme.operator.spectral_bound
    coordinates = mesh(grid)
    source = np.sin(2 * np.pi * (coordinates[0] + coordinates[1] - coordinates[2]))
    state = np.zeros(grid.block_shape)
    for _ in range(60):
        state = scheme.advance(state, source, duration)
    expected = semi_discrete_solution(scheme.operator, np.zeros(grid.block_shape), source, 60 * duration)
    assert relative_error(state, expected) < 1e-3
    declared_scheme = build_adi(grid, random_diffusivity(grid), time_step=duration)
    noise = 1e-12 * np.random.default_rng(0).standard_normal(grid.block_shape)
    assert np.abs(declared_scheme.advance(noise, None, 60 * duration)).max() > 1


def test_a_result_depends_only_on_the_arguments() -> None:
    grid = unit_grid((20, 14), "periodic", "neumann")
    scheme = build_adi(grid, smooth_diffusivity(grid))
    start_state = np.random.default_rng(0).standard_normal(grid.block_shape)
    first_result = scheme.advance(start_state, None, 0.03)
    for duration in (0.001, 0.5, 0.017):
        scheme.advance(first_result, np.ones(grid.block_shape), duration)
    with pytest.raises(DivergedError, match="not finite"):
        scheme.advance(np.full(grid.block_shape, np.nan), None, 0.01)
    assert np.array_equal(scheme.advance(start_state, None, 0.03), first_result)
    assert np.array_equal(
        build_adi(grid, smooth_diffusivity(grid)).advance(start_state, None, 0.03), first_result
    )


def test_a_tolerance_below_round_off_ends_the_trajectory() -> None:
    grid = unit_grid((32,), "neumann")
    scheme = build_adi(grid, np.ones(32))
    scheme.operator.spectral_bound /= (
        1e9  # with this wrong bound the scheme tries no step that is short enough for noise
    )
    with pytest.raises(DivergedError, match=r"error of a step of .* times the tolerance .* step of Euler"):
        scheme.advance(np.random.default_rng(0).standard_normal(32), None, 100.0)
