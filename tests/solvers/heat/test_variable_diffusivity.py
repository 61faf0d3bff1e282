"""Super-time-stepping where the diffusivity varies: exact and manufactured solutions, orders, bounds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from solvers.contract import DivergedError
from solvers.heat.operator import DiffusionOperator, Walls, walls
from solvers.heat.schemes.explicit import ForwardEuler, SuperTimeStepping, largest_product, stages_for
from solvers.numerics.grid import Grid
from solvers.numerics.laplacian_transforms import SpectralTransform
from tests.support.heat_cases import ZERO, error, grid, matrix, order, random_diffusivity, semi_discrete


def rkl2(
    on: Grid,
    k: np.ndarray,
    values: tuple[tuple[float, float], ...] = ZERO,
    time_step: float | None = None,
    tolerance: float = 1e-9,
) -> tuple[SuperTimeStepping, Walls]:
    at_walls = walls(on, values, k)
    return SuperTimeStepping(DiffusionOperator(on, k), at_walls, time_step, tolerance), at_walls


def test_an_exact_decaying_solution() -> None:
    # k = (1 + x)^2 has the eigenfunctions (1 + x)^(-1/2) sin(w log(1 + x)) with rates w^2 + 1/4.
    frequency = 2 * np.pi / np.log(2)
    errors = []
    for resolution in (64, 128):
        on = grid((resolution,), "dirichlet")
        x = on.coordinates(0)
        start = np.sin(frequency * np.log(1 + x)) / np.sqrt(1 + x)
        scheme, _ = rkl2(on, (1 + x) ** 2)
        expected = np.exp(-(frequency**2 + 0.25) * 0.02) * start
        errors.append(error(scheme.advance(start, None, 0.02), expected))
    assert order(errors) == pytest.approx(2, abs=0.2)
    assert errors[-1] < 1e-3


@pytest.mark.parametrize(
    "kinds",
    [("neumann",), ("periodic", "dirichlet"), ("dirichlet", "neumann"), ("neumann", "periodic", "dirichlet")],
)
def test_a_manufactured_solution(kinds: tuple[str, ...]) -> None:
    """The source that holds v = prod cos(2 pi x + 1) steady, k = exp(sum sin(2 pi x) / 2)."""
    errors = []
    for resolution in (10, 20) if len(kinds) == 3 else (24, 48):
        on = grid((resolution,) * len(kinds), *kinds)
        mesh = np.meshgrid(*(on.coordinates(axis) for axis in on.axes), indexing="ij")
        k = manufactured_k(mesh)
        v = np.prod([np.cos(2 * np.pi * x + 1) for x in mesh], axis=0)
        source = np.zeros_like(v)
        for axis, x in enumerate(mesh):
            others = np.prod([np.cos(2 * np.pi * y + 1) for i, y in enumerate(mesh) if i != axis], axis=0)
            slope = -2 * np.pi * np.sin(2 * np.pi * x + 1) * others
            source -= np.pi * np.cos(2 * np.pi * x) * k * slope - 4 * np.pi**2 * k * v
        scheme, _ = rkl2(on, k, tolerance=1e-6)
        # Without a dirichlet wall the mean stays what it was; with one all of the offset decays.
        offset = 0.5 if "dirichlet" in kinds else 0.0
        found = scheme.advance(v + offset, source + manufactured_walls(on, mesh), 3.0)
        errors.append(error(found, v))
    assert order(errors) == pytest.approx(2, abs=0.2)


def manufactured_k(mesh: list[np.ndarray]) -> np.ndarray:
    return np.exp(sum(np.sin(2 * np.pi * x) / 2 for x in mesh))


def manufactured_walls(on: Grid, mesh: list[np.ndarray]) -> np.ndarray:
    """What walls supply whose temperature or flux varies along them as that of v does."""
    supply = np.zeros(on.block_shape)
    for axis in on.axes:
        for end, layer in on.walls(axis):
            at = [x[layer] if other != axis else np.full_like(x[layer], end) for other, x in enumerate(mesh)]
            others = np.prod([np.cos(2 * np.pi * x + 1) for i, x in enumerate(at) if i != axis], axis=0)
            width = on.spacing[axis]
            if on.boundary[axis] == "dirichlet":
                temperature = np.cos(2 * np.pi * end + 1) * others
                supply[layer] += 2 * manufactured_k(mesh)[layer] / width**2 * temperature
            else:
                slope = -2 * np.pi * np.sin(2 * np.pi * end + 1) * others
                supply[layer] += manufactured_k(at) * (slope if end else -slope) / width
    return supply


@pytest.mark.parametrize(
    "kinds", [("periodic",), ("dirichlet", "neumann"), ("periodic", "dirichlet", "neumann")]
)
def test_the_operator_is_symmetric_dissipative_and_bounded(kinds: tuple[str, ...]) -> None:
    on = grid((7, 5, 4)[: len(kinds)], *kinds)
    k = random_diffusivity(on)
    operator = DiffusionOperator(on, k)
    a = matrix(operator)
    assert np.allclose(a, a.T, rtol=1e-13)
    eigenvalues = np.linalg.eigvalsh(a)
    assert eigenvalues.max() < 1e-9
    assert -eigenvalues.min() <= operator.spectral_bound < -1.6 * eigenvalues.min()


@pytest.mark.parametrize(
    "kinds", [("periodic",), ("dirichlet", "neumann"), ("periodic", "dirichlet", "neumann")]
)
def test_the_transforms_diagonalise_the_operator(kinds: tuple[str, ...]) -> None:
    on = grid((7, 6, 4)[: len(kinds)], *kinds)
    k = np.ones(on.block_shape)
    a = matrix(DiffusionOperator(on, k))
    transform = SpectralTransform(on)
    field = np.random.default_rng(0).standard_normal(on.block_shape)
    by_modes = transform.inverse(-transform.eigenvalues() * transform.forward(field))
    assert np.allclose(by_modes.ravel(), a @ field.ravel(), rtol=0, atol=1e-11 * np.abs(a).max())


def test_super_time_stepping_is_of_second_order_in_time() -> None:
    on = grid((40,), "dirichlet")
    k = 1 + 0.5 * np.sin(5 * on.coordinates(0))
    x = on.coordinates(0)
    start = 0.5 - x + np.sin(np.pi * x) + 0.3 * np.sin(2 * np.pi * x)
    values = ((0.5, -0.5),)
    errors = []
    for time_step in (0.01, 0.005, 0.0025):
        scheme, at_walls = rkl2(on, k, values, time_step)
        expected = semi_discrete(scheme.operator, start, at_walls.supply, 0.1)
        errors.append(error(scheme.advance(start, at_walls.supply, 0.1), expected))
    assert order(errors) == pytest.approx(2, abs=0.2)
    assert order(errors[:2]) == pytest.approx(2, abs=0.2)


def test_euler_is_of_first_order_in_time() -> None:
    on = grid((16,), "dirichlet")
    k = 1 + 0.5 * np.sin(5 * on.coordinates(0))
    start = np.sin(np.pi * on.coordinates(0))
    at_walls = walls(on, ((0.5, -0.5),), k)
    operator = DiffusionOperator(on, k)
    expected = semi_discrete(operator, start, at_walls.supply, 0.1)
    errors = [
        error(ForwardEuler(operator, at_walls, step).advance(start, at_walls.supply, 0.1), expected)
        for step in (0.001, 0.0005, 0.00025)
    ]
    assert order(errors) == pytest.approx(1, abs=0.2)


class Counting(SuperTimeStepping):
    """Counts the steps that it takes."""

    num_steps = 0

    def _error(self, step: float, num_stages: int) -> float:
        excess = super()._error(step, num_stages)
        self.num_steps += excess <= 1
        return excess


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_no_step_errs_by_more_than_the_tolerance(tolerance: float) -> None:
    on = grid((64,), "neumann")
    k = 0.1 * random_diffusivity(on)
    x = on.coordinates(0)
    start = np.sin(3 * x) + (x > 0.4)  # a jump, so that the first steps have to be short
    at_walls = walls(on, ZERO, k)
    scheme = Counting(DiffusionOperator(on, k), at_walls, None, tolerance)
    expected = scipy.linalg.expm(0.1 * matrix(scheme.operator)) @ start
    found = scheme.advance(start, None, 0.1)
    # Diffusion amplifies no error, so that those of the steps at most add up.
    assert np.sqrt(np.mean((found - expected) ** 2)) < scheme.num_steps * tolerance * np.std(start)
    assert scheme.num_steps > 3


@pytest.mark.parametrize("tolerance", [1e-5, 1e-13])
def test_steps_that_would_never_be_short_enough_end_the_trajectory(tolerance: float) -> None:
    on = grid((32,), "neumann")
    scheme, _ = rkl2(on, np.ones(32), tolerance=tolerance)
    scheme.operator.spectral_bound /= 1e9  # far from what the operator does: no step of its size is accurate
    start = np.random.default_rng(0).standard_normal(32)
    with pytest.raises(DivergedError, match=r"errs by .* times the tolerance .* of the stable step of Euler"):
        scheme.advance(start, None, 100.0)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("heating", ["one wall", "everywhere"])
def test_steps_may_be_as_short_as_a_start_from_rest_needs(heating: str, tolerance: float) -> None:
    on = grid((24,), "dirichlet")
    k = random_diffusivity(on)
    at_walls = walls(on, ((0.0, 6.0),), k)
    scheme = Counting(DiffusionOperator(on, k), at_walls, None, tolerance)
    source = at_walls.supply if heating == "one wall" else np.ones(24)
    found = scheme.advance(np.zeros(24), source, 0.5)
    expected = semi_discrete(scheme.operator, np.zeros(24), source, 0.5)
    # From rest every cell warms all the time, so that no spread on the way exceeds the last root mean square.
    allowed = (tolerance + 1e-10) * np.sqrt(np.mean(expected**2))
    assert np.sqrt(np.mean((found - expected) ** 2)) < scheme.num_steps * allowed


@given(product=st.floats(0, 1e4))
def test_stages_suffice_and_no_two_fewer_do(product: float) -> None:
    stages = stages_for(product)
    assert stages % 2 == 1
    assert largest_product(stages) >= product * (1 - 1e-9)
    assert stages == 3 or largest_product(stages - 2) < product


@hypothesis_settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 5), time_step=st.floats(1e-3, 10))
def test_large_steps_stay_stable_on_rough_data(seed: int, steps: int, time_step: float) -> None:
    on = grid((24, 5), "neumann", "periodic")
    rng = np.random.default_rng(seed)
    scheme, _ = rkl2(on, random_diffusivity(on, seed), time_step=time_step)
    start = rng.standard_normal(on.block_shape)
    end = scheme.advance(start, None, steps * time_step)
    assert np.linalg.norm(end - end.mean()) <= np.linalg.norm(start - start.mean())
    assert end.mean() == pytest.approx(start.mean(), abs=1e-12)
