"""Explicit schemes with variable diffusivity: exact and manufactured solutions, orders and error bounds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from solvers.contract import DivergedError
from solvers.heat.operator import DiffusionOperator, wall_terms
from solvers.heat.schemes.explicit import (
    ForwardEuler,
    SuperTimeStepping,
    largest_product,
    least_stable_stages,
)
from solvers.numerics.grid import Grid
from solvers.numerics.laplacian_transforms import SpectralTransform
from tests.support.heat_cases import (
    ZERO_WALL_VALUES,
    mesh,
    observed_order,
    operator_matrix,
    random_diffusivity,
    relative_error,
    semi_discrete_solution,
    unit_grid,
)

MIXED_CONDITIONS = [("periodic",), ("dirichlet", "neumann"), ("periodic", "dirichlet", "neumann")]


class CountingScheme(SuperTimeStepping):
    """The scheme RKL2 (Runge-Kutta-Legendre) with a count of the accepted steps."""

    num_steps = 0

    def _error(self, step: float, num_stages: int) -> float:
        error_ratio = super()._error(step, num_stages)
        self.num_steps += error_ratio <= 1
        return error_ratio


def build_rkl2(
    grid: Grid,
    k: np.ndarray,
    values: tuple[tuple[float, float], ...] = ZERO_WALL_VALUES,
    time_step: float | None = None,
    tolerance: float = 1e-9,
) -> CountingScheme:
    return CountingScheme(DiffusionOperator(grid, k), wall_terms(grid, values, k), time_step, tolerance)


def test_a_decaying_solution_agrees_with_the_exact_solution() -> None:
    # k = (1 + x)^2 has the eigenfunctions (1 + x)^(-1/2) sin(w log(1 + x)) with rates w^2 + 1/4.
    frequency = 2 * np.pi / np.log(2)
    errors = []
    for resolution in (64, 128):
        grid = unit_grid((resolution,), "dirichlet")
        x = grid.coordinates(0)
        start_state = np.sin(frequency * np.log(1 + x)) / np.sqrt(1 + x)
        expected = np.exp(-(frequency**2 + 0.25) * 0.02) * start_state
        errors.append(
            relative_error(build_rkl2(grid, (1 + x) ** 2).advance(start_state, None, 0.02), expected)
        )
    assert observed_order(errors) == pytest.approx(2, abs=0.2)
    assert errors[-1] < 1e-3


@pytest.mark.parametrize(
    "conditions",
    [("neumann",), ("periodic", "dirichlet"), ("dirichlet", "neumann"), ("neumann", "periodic", "dirichlet")],
)
def test_a_manufactured_solution_stays_steady(conditions: tuple[str, ...]) -> None:
    # The source keeps v = prod cos(2 pi x + 1) steady for k = exp(sum sin(2 pi x) / 2).
    errors = []
    for resolution in (10, 20) if len(conditions) == 3 else (24, 48):
        grid = unit_grid((resolution,) * len(conditions), *conditions)
        coordinates = mesh(grid)
        k = manufactured_k(coordinates)
        v = np.prod([np.cos(2 * np.pi * x + 1) for x in coordinates], axis=0)
        source = np.zeros_like(v)
        for axis, x in enumerate(coordinates):
            other_factors = np.prod(
                [np.cos(2 * np.pi * y + 1) for other_axis, y in enumerate(coordinates) if other_axis != axis],
                axis=0,
            )
            slope = -2 * np.pi * np.sin(2 * np.pi * x + 1) * other_factors
            source -= np.pi * np.cos(2 * np.pi * x) * k * slope - 4 * np.pi**2 * k * v
        # Without a dirichlet wall the mean stays constant. With a dirichlet wall the offset decays.
        offset = 0.5 if "dirichlet" in conditions else 0.0
        scheme = build_rkl2(grid, k, tolerance=1e-6)
        end_state = scheme.advance(v + offset, source + manufactured_walls(grid, coordinates), 3.0)
        errors.append(relative_error(end_state, v))
    assert observed_order(errors) == pytest.approx(2, abs=0.2)


def manufactured_k(coordinates: list[np.ndarray]) -> np.ndarray:
    return np.exp(sum(np.sin(2 * np.pi * x) / 2 for x in coordinates))


def manufactured_walls(grid: Grid, coordinates: list[np.ndarray]) -> np.ndarray:
    """Return the supply (K/s) of walls that have the temperature or the flux of v."""
    supply = np.zeros(grid.block_shape)
    for axis in grid.axes:
        for wall_position, layer in grid.walls(axis):
            wall_coordinates = [
                x[layer] if other_axis != axis else np.full_like(x[layer], wall_position)
                for other_axis, x in enumerate(coordinates)
            ]
            other_factors = np.prod(
                [
                    np.cos(2 * np.pi * x + 1)
                    for other_axis, x in enumerate(wall_coordinates)
                    if other_axis != axis
                ],
                axis=0,
            )
            width = grid.spacing[axis]
            if grid.boundary[axis] == "dirichlet":
                temperature = np.cos(2 * np.pi * wall_position + 1) * other_factors
                supply[layer] += 2 * manufactured_k(coordinates)[layer] / width**2 * temperature
            else:
                slope = -2 * np.pi * np.sin(2 * np.pi * wall_position + 1) * other_factors
                supply[layer] += (
                    manufactured_k(wall_coordinates) * (slope if wall_position else -slope) / width
                )
    return supply


@pytest.mark.parametrize("conditions", MIXED_CONDITIONS)
def test_the_operator_is_symmetric_dissipative_and_bounded(conditions: tuple[str, ...]) -> None:
    grid = unit_grid((7, 5, 4)[: len(conditions)], *conditions)
    operator = DiffusionOperator(grid, random_diffusivity(grid))
    a = operator_matrix(operator)
    assert np.allclose(a, a.T, rtol=1e-13)
    eigenvalues = np.linalg.eigvalsh(a)
    assert eigenvalues.max() < 1e-9
    assert -eigenvalues.min() <= operator.spectral_bound < -1.6 * eigenvalues.min()


@pytest.mark.parametrize("conditions", MIXED_CONDITIONS)
def test_the_transforms_diagonalise_the_operator(conditions: tuple[str, ...]) -> None:
    grid = unit_grid((7, 6, 4)[: len(conditions)], *conditions)
    a = operator_matrix(DiffusionOperator(grid, np.ones(grid.block_shape)))
    transform = SpectralTransform(grid)
    field = np.random.default_rng(0).standard_normal(grid.block_shape)
    laplacian = transform.inverse(-transform.eigenvalues() * transform.forward(field))
    assert np.allclose(laplacian.ravel(), a @ field.ravel(), rtol=0, atol=1e-11 * np.abs(a).max())


def test_super_time_stepping_is_of_second_order_in_time() -> None:
    grid = unit_grid((40,), "dirichlet")
    x = grid.coordinates(0)
    start_state = 0.5 - x + np.sin(np.pi * x) + 0.3 * np.sin(2 * np.pi * x)
    errors = []
    for time_step in (0.01, 0.005, 0.0025):
        scheme = build_rkl2(grid, 1 + 0.5 * np.sin(5 * x), ((0.5, -0.5),), time_step)
        expected = semi_discrete_solution(scheme.operator, start_state, scheme.walls.supply, 0.1)
        errors.append(relative_error(scheme.advance(start_state, scheme.walls.supply, 0.1), expected))
    assert observed_order(errors) == pytest.approx(2, abs=0.2)
    assert observed_order(errors[:2]) == pytest.approx(2, abs=0.2)


def test_euler_is_of_first_order_in_time() -> None:
    grid = unit_grid((16,), "dirichlet")
    k = 1 + 0.5 * np.sin(5 * grid.coordinates(0))
    start_state = np.sin(np.pi * grid.coordinates(0))
    walls = wall_terms(grid, ((0.5, -0.5),), k)
    operator = DiffusionOperator(grid, k)
    expected = semi_discrete_solution(operator, start_state, walls.supply, 0.1)
    errors = [
        relative_error(ForwardEuler(operator, walls, step).advance(start_state, walls.supply, 0.1), expected)
        for step in (0.001, 0.0005, 0.00025)
    ]
    assert observed_order(errors) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_the_error_of_each_step_is_within_the_tolerance(tolerance: float) -> None:
    grid = unit_grid((64,), "neumann")
    x = grid.coordinates(0)
    start_state = np.sin(3 * x) + (x > 0.4)  # the jump requires short steps at first
    scheme = build_rkl2(grid, 0.1 * random_diffusivity(grid), tolerance=tolerance)
    expected = scipy.linalg.expm(0.1 * operator_matrix(scheme.operator)) @ start_state
    end_state = scheme.advance(start_state, None, 0.1)
    # Diffusion amplifies no error, so the error is at most the sum of the errors of the steps.
    assert np.sqrt(np.mean((end_state - expected) ** 2)) < scheme.num_steps * tolerance * np.std(start_state)
    assert scheme.num_steps > 3


@pytest.mark.parametrize("tolerance", [1e-5, 1e-13])
def test_steps_that_cannot_be_short_enough_end_the_trajectory(tolerance: float) -> None:
    grid = unit_grid((32,), "neumann")
    scheme = build_rkl2(grid, np.ones(32), tolerance=tolerance)
    scheme.operator.spectral_bound /= 1e9  # with this wrong bound no step of the allowed size is accurate
    start_state = np.random.default_rng(0).standard_normal(32)
    with pytest.raises(DivergedError, match=r"error of a step of .* times the tolerance .* step of Euler"):
        scheme.advance(start_state, None, 100.0)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("heating", ["one wall", "everywhere"])
def test_a_start_from_rest_is_within_the_tolerance(heating: str, tolerance: float) -> None:
    grid = unit_grid((24,), "dirichlet")
    scheme = build_rkl2(grid, random_diffusivity(grid), ((0.0, 6.0),), tolerance=tolerance)
    source = scheme.walls.supply if heating == "one wall" else np.ones(24)
    end_state = scheme.advance(np.zeros(24), source, 0.5)
    expected = semi_discrete_solution(scheme.operator, np.zeros(24), source, 0.5)
    # All cells always warm up, so no earlier standard deviation exceeds the final root mean square.
    allowed_error = (tolerance + 1e-10) * np.sqrt(np.mean(expected**2))
    assert np.sqrt(np.mean((end_state - expected) ** 2)) < scheme.num_steps * allowed_error


@given(product=st.floats(0, 1e4))
def test_the_number_of_stages_is_the_smallest_stable_number(product: float) -> None:
    stages = least_stable_stages(product)
    assert stages % 2 == 1
    assert largest_product(stages) >= product * (1 - 1e-9)
    assert stages == 3 or largest_product(stages - 2) < product


@hypothesis_settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 5), time_step=st.floats(1e-3, 10))
def test_large_steps_are_stable_for_rough_data(seed: int, steps: int, time_step: float) -> None:
    grid = unit_grid((24, 5), "neumann", "periodic")
    scheme = build_rkl2(grid, random_diffusivity(grid, seed), time_step=time_step)
    start_state = np.random.default_rng(seed).standard_normal(grid.block_shape)
    end_state = scheme.advance(start_state, None, steps * time_step)
    assert np.linalg.norm(end_state - end_state.mean()) <= np.linalg.norm(start_state - start_state.mean())
    assert end_state.mean() == pytest.approx(start_state.mean(), abs=1e-12)
