"""Alternating directions: the solves along lines, order, error control, large steps, when they are chosen."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from solvers.contract import DivergedError
from solvers.heat.operator import DiffusionOperator, walls
from solvers.heat.schemes.adi import AlternatingDirections, _damping
from solvers.heat.tridiagonal import factorise, solve
from solvers.numerics.grid import Grid
from tests.support.heat_cases import (
    ZERO,
    error,
    grid,
    heat,
    matrix,
    order,
    random_diffusivity,
    sampled,
    semi_discrete,
)

KINDS = ("periodic", "dirichlet", "neumann")
SHAPES = {1: (30,), 2: (13, 11), 3: (7, 6, 5)}
VALUES = ((1.0, 2.0), (0.5, -0.5), (-1.0, 0.3))


def adi(
    on: Grid,
    k: np.ndarray,
    values: tuple[tuple[float, float], ...] = ZERO,
    time_step: float | None = None,
    tolerance: float = 1e-6,
) -> AlternatingDirections:
    return AlternatingDirections(DiffusionOperator(on, k), walls(on, values, k), time_step, tolerance)


def smooth_diffusivity(on: Grid) -> np.ndarray:
    mesh = np.meshgrid(*(on.coordinates(axis) for axis in on.axes), indexing="ij")
    k: np.ndarray = np.exp(0.5 * np.sin(2 * np.pi * (mesh[0] + 0.3 * mesh[-1])))
    return k


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("num_cells", [2, 3, 4, 17])
def test_lines_are_solved_as_dense_matrices_are(num_cells: int, periodic: bool) -> None:
    rng = np.random.default_rng(0)
    num_lines, a = 300, 0.7
    c = rng.uniform(0.1, 20, (num_cells + 1, num_lines))
    c[-1] = c[0] if periodic else c[-1]
    right = rng.standard_normal((num_cells, num_lines))
    inverse, corner, found = np.empty_like(right), np.empty_like(right), right.copy()
    factorise(inverse, corner, c, a, periodic)
    solve(found, inverse, corner, c, a, periodic)
    for line in range(num_lines):
        dense = np.eye(num_cells)
        for face, conductance in enumerate(a * c[:, line]):
            below, above = face - 1, face
            if periodic and face == num_cells:
                continue
            if periodic:
                below %= num_cells
            for cell, other in ((below, above), (above, below)):
                if 0 <= cell < num_cells:
                    dense[cell, cell] += conductance
                    if 0 <= other < num_cells:
                        dense[cell, other] -= conductance
        assert np.allclose(found[:, line], np.linalg.solve(dense, right[:, line]), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "kinds", [*itertools.product(KINDS, repeat=1), *itertools.product(KINDS, repeat=2), KINDS, KINDS[::-1]]
)
def test_declared_steps_are_of_second_order(kinds: tuple[str, ...]) -> None:
    on = grid(SHAPES[len(kinds)], *kinds)
    k = smooth_diffusivity(on)
    operator, at_walls = DiffusionOperator(on, k), walls(on, VALUES, k)
    source = at_walls.supply + 20 * k
    # What starts at once at the walls is over then.
    start = semi_discrete(operator, np.zeros(on.block_shape), source, 0.02)
    expected = semi_discrete(operator, start, source, 0.05)
    errors = []
    for num_steps in (8, 16, 32):
        found = adi(on, k, VALUES, 0.05 / num_steps).advance(start, source, 0.05)
        errors.append(error(found - start, expected - start))
    assert order(errors) == pytest.approx(2, abs=0.2)
    assert errors[-1] < 2e-3


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("case", ["smooth", "jumps of k", "jump of u", "noise", "from rest"])
@pytest.mark.parametrize("kinds", [("periodic", "dirichlet"), ("neumann", "periodic", "dirichlet")])
def test_no_step_errs_by_more_than_the_tolerance(kinds: tuple[str, ...], case: str, tolerance: float) -> None:
    on = grid((20, 14) if len(kinds) == 2 else (8, 7, 6), *kinds)
    x = np.meshgrid(*(on.coordinates(axis) for axis in on.axes), indexing="ij")
    k = np.where(x[0] + x[1] > 0.8, 1.0, 0.1) if case == "jumps of k" else smooth_diffusivity(on)
    start = np.cos(2 * np.pi * x[0]) * np.sin(np.pi * x[1])
    if case == "jump of u":
        start += x[0] > 0.4
    elif case == "noise":
        start = np.random.default_rng(0).standard_normal(on.block_shape)
    elif case == "from rest":
        start = np.zeros(on.block_shape)
    values = (ZERO[0], (0.0, 0.5), (0.5, 0.0))
    scheme = Counting(DiffusionOperator(on, k), walls(on, values, k), None, tolerance)
    source = scheme.walls.supply
    found = scheme.advance(start, source, 0.05)
    expected = semi_discrete(scheme.operator, start, source, 0.05)
    spread = max(np.std(start), np.std(expected)) + 1e-10
    # Diffusion amplifies no error, so that those of the steps at most add up.
    assert np.sqrt(np.mean((found - expected) ** 2)) < scheme.num_steps * tolerance * spread


class Counting(AlternatingDirections):
    """Counts the steps that it takes."""

    num_steps = 0

    def _try_step(self, temperature: np.ndarray, step: float) -> tuple[np.ndarray, float, float, float]:
        result = super()._try_step(temperature, step)
        self.num_steps += result[2] <= 1
        return result


@pytest.mark.parametrize("changes", [{}, {"diffusivity": {"kind": "inclusions", "contrast": [10.0, 10.0]}}])
@pytest.mark.parametrize("boundary", ["periodic", "dirichlet", "neumann"])
def test_it_agrees_with_super_time_stepping(boundary: str, changes: dict[str, Any]) -> None:
    """On the shipped fields and inclusions of contrast 10, with walls that supply heat, and heaters."""
    options: dict[str, Any] = {
        "resolution": [40, 32],
        "boundary": {"x": boundary, "y": boundary},
        "boundary_values": {"x": [0.5, 1.0], "y": [0.3, -0.2]},
        "heaters": {"count": 2},
    } | changes
    ends = []
    for scheme, tolerance in (("adi", 1e-6), ("rkl2", 1e-8)):
        solver = heat(scheme=scheme, tolerance=tolerance, **options)
        parameters = sampled(solver)
        ends.append(solver.advance(solver.initial_state(parameters), parameters, 0.0, 0.06))
    assert np.std(ends[0] - ends[1]) < 5e-6 * np.std(ends[1])


@pytest.mark.parametrize("noise", ["checkerboard", "white"])
def test_faint_noise_that_steps_would_not_damp_is_seen(noise: str) -> None:
    # The shortest waves are gone after a hundredth of the duration.
    ends = []
    for scheme, tolerance in (("adi", 1e-5), ("rkl2", 1e-7)):
        solver = heat(scheme=scheme, tolerance=tolerance)
        parameters = sampled(solver)
        start = solver.initial_state(parameters)
        white = np.random.default_rng(0).standard_normal(start.shape)
        waves = white if noise == "white" else np.indices(start.shape).sum(0) % 2 * 2.0 - 1
        state = start + 1e-3 * np.std(start) * waves
        ends.append(solver.advance(state, parameters, 0.0, 0.005))
    assert np.std(ends[0] - ends[1]) < 1e-5 * np.std(ends[1])


@pytest.mark.parametrize(
    "kinds", [("dirichlet",), ("dirichlet", "neumann"), ("periodic", "dirichlet", "neumann")]
)
def test_what_is_steady_stays_so_at_any_step(kinds: tuple[str, ...]) -> None:
    on = grid(SHAPES[len(kinds)], *kinds)
    k = random_diffusivity(on)
    scheme = adi(on, k, VALUES, time_step=10.0)
    source = scheme.walls.supply
    steady = -np.linalg.solve(matrix(scheme.operator), source.ravel()).reshape(on.block_shape)
    assert error(scheme.advance(steady, source, 30.0), steady) < 1e-11


@pytest.mark.parametrize("number", [2, 3, 4])
def test_what_is_kept_of_the_parts_amplifies_no_wave(number: int) -> None:
    # Of a wave that decays at rates x and y along two axes, for one step: 1 - 2 (x + y) / ((1 + x) (1 + y)).
    rates = np.concatenate([[0.0], np.logspace(-3, 8, 200)])
    kept, weights = np.zeros((201, 201)), _damping(number)
    for parts, weight in enumerate(weights, start=1):
        x, y = rates[:, None] / parts, rates / parts
        kept += weight * (1 - 2 * (x + y) / ((1 + x) * (1 + y))) ** parts
    assert np.abs(kept).max() <= 1 + 1e-12
    assert np.abs(kept[0, -1]) < 1e-6


def test_steps_far_beyond_the_shortest_waves_need_not_be_shortened() -> None:
    on = grid((96, 64), "periodic", "dirichlet")
    k = smooth_diffusivity(on)
    scheme = Counting(DiffusionOperator(on, k), walls(on, VALUES, k), None, 1e-4)
    state = np.sin(2 * np.pi * on.coordinates(0))[:, None] + 0 * on.coordinates(1)
    state = scheme.advance(state, scheme.walls.supply, 0.01)
    scheme.num_steps = 0
    for _ in range(60):
        state = scheme.advance(state, scheme.walls.supply, 0.01)
    assert 0.01 * scheme.operator.spectral_bound > 500
    assert scheme.num_steps == 60


@hypothesis_settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 20), time_step=st.floats(1e-3, 10))
def test_large_steps_stay_stable_on_rough_data(seed: int, steps: int, time_step: float) -> None:
    # Both Cayley transforms are contractions, so that (1 - h A_2 / 2) u never grows.
    on = grid((24, 5), "neumann", "periodic")
    start = np.random.default_rng(seed).standard_normal(on.block_shape)
    scheme = adi(on, random_diffusivity(on, seed), time_step=time_step)
    end = scheme.advance(start, None, steps * time_step)
    along = part_of_axis(scheme.operator, 1)
    norms = [np.linalg.norm(u.ravel() - time_step / 2 * along @ u.ravel()) for u in (end, start)]
    assert norms[0] <= norms[1] * (1 + 1e-10)
    assert end.mean() == pytest.approx(start.mean(), abs=1e-10 * time_step * scheme.operator.spectral_bound)


def part_of_axis(operator: DiffusionOperator, axis: int) -> np.ndarray:
    """The matrix of one axis alone, from the operator whose other faces conduct nothing."""
    kept = operator.faces
    operator.faces = tuple(face * (number == axis) for number, face in enumerate(kept))
    a = matrix(operator)
    operator.faces = kept
    return a


def test_what_grows_in_three_dimensions_is_seen() -> None:
    # Single steps of 1000 / rho grow here 1.8-fold each: 60 of them would turn round-off into everything.
    on = grid((8, 7, 6), "periodic", "periodic", "periodic")
    scheme = adi(on, random_diffusivity(on), tolerance=1e-4)
    duration = 1000 / scheme.operator.spectral_bound
    x = np.meshgrid(*(on.coordinates(axis) for axis in on.axes), indexing="ij")
    source = np.sin(2 * np.pi * (x[0] + x[1] - x[2]))
    found = np.zeros(on.block_shape)
    for _ in range(60):
        found = scheme.advance(found, source, duration)
    expected = semi_discrete(scheme.operator, np.zeros(on.block_shape), source, 60 * duration)
    assert error(found, expected) < 1e-3
    declared = adi(on, random_diffusivity(on), time_step=duration)
    noise = 1e-12 * np.random.default_rng(0).standard_normal(on.block_shape)
    assert np.abs(declared.advance(noise, None, 60 * duration)).max() > 1


def test_a_result_depends_on_its_arguments_alone() -> None:
    on = grid((20, 14), "periodic", "neumann")
    scheme = adi(on, smooth_diffusivity(on))
    start = np.random.default_rng(0).standard_normal(on.block_shape)
    first = scheme.advance(start, None, 0.03)
    for duration in (0.001, 0.5, 0.017):
        scheme.advance(first, np.ones(on.block_shape), duration)
    with pytest.raises(DivergedError, match="not finite"):
        scheme.advance(np.full(on.block_shape, np.nan), None, 0.01)
    assert np.array_equal(scheme.advance(start, None, 0.03), first)
    assert np.array_equal(adi(on, smooth_diffusivity(on)).advance(start, None, 0.03), first)


def test_a_tolerance_below_round_off_ends_the_trajectory() -> None:
    on = grid((32,), "neumann")
    scheme = adi(on, np.ones(32))
    scheme.operator.spectral_bound /= 1e9  # so that no step short enough for noise is tried
    with pytest.raises(DivergedError, match=r"errs by .* times the tolerance .* of the stable step of Euler"):
        scheme.advance(np.random.default_rng(0).standard_normal(32), None, 100.0)


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        ({"diffusivity": {"kind": "constant"}}, "exact propagator"),
        ({}, "alternating directions of order 2"),
        ({"diffusivity": {"kind": "inclusions"}}, "super-time-stepping RKL2"),
        ({"scheme": "adi", "diffusivity": {"kind": "constant"}}, "alternating directions"),
        ({"time_step": 0.01}, "super-time-stepping RKL2"),
        ({"scheme": "rkl2"}, "super-time-stepping RKL2"),
    ],
)
def test_the_method_is_chosen_from_what_is_given(changes: dict[str, Any], method: str) -> None:
    assert method in heat(**changes).method
