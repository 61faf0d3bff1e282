"""What is drawn for a trajectory: its ranges, and that the grid has no part in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from solvers.contract import Parameter
from solvers.numerics.parameter_sampling import draw
from solvers.numerics.random_fields import deviations, modes
from tests.support.heat_cases import INSULATED, error, heat, sampled

KINDS: dict[str, dict[str, Any]] = {
    "constant k, few modes": {"diffusivity": {"kind": "constant"}, "initial": {"kind": "modes", "modes": 7}},
    "lognormal k, random field": {},
    "inclusions, blobs": {
        "diffusivity": {"kind": "inclusions"},
        "initial": {"kind": "blobs", "width": [0.1, 0.15]},
    },
}
HEATERS = {"count": 2, "width": [0.1, 0.15]}
MIXED = {"x": "dirichlet", "y": "neumann", "z": "periodic"}
EXTENTS = [[1.0], [1.0, 0.6], [1.0, 0.6, 0.8]]


@given(
    low=st.floats(0, 10, allow_subnormal=False),
    width=st.floats(0, 10, allow_subnormal=False),
    seed=st.integers(0, 2**32),
    outside=st.booleans(),
)
def test_draws_lie_inside_or_outside_and_keep_the_sign(
    low: float, width: float, seed: int, outside: bool
) -> None:
    parameter = Parameter("p", "1", "a parameter", low, low + width)
    value = draw([parameter], np.random.default_rng(seed), outside)["p"]
    assert (parameter.low <= value <= parameter.high) is not outside
    assert value > 0 or low == 0


@pytest.mark.parametrize("kind", KINDS)
@hypothesis_settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), outside=st.booleans())
def test_a_sample_is_the_seeds_alone(kind: str, seed: int, outside: bool) -> None:
    coarse = heat(**KINDS[kind], heaters=HEATERS, resolution=8)
    fine = heat(**KINDS[kind], heaters=HEATERS, resolution=[20, 12])
    one = coarse.sample(np.random.default_rng(seed), outside)
    other = fine.sample(np.random.default_rng(seed), outside)
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    for parameter in coarse.spec.parameters:
        assert isinstance(one[parameter.name], float)
        assert (parameter.low <= one[parameter.name] <= parameter.high) is not outside
        assert one[parameter.name] > 0


@pytest.mark.parametrize("boundary", [MIXED, dict.fromkeys("xyz", "periodic"), INSULATED], ids=str)
@pytest.mark.parametrize("extent", EXTENTS, ids=len)
@pytest.mark.parametrize("kind", KINDS)
def test_fields_are_the_same_on_every_grid(kind: str, extent: list[float], boundary: dict[str, str]) -> None:
    options: dict[str, Any] = {"extent": extent, "boundary": boundary, "heaters": HEATERS, **KINDS[kind]}
    options["boundary_values"] = {"x": [1.0, 2.0]}
    coarse, fine = heat(**options, resolution=8), heat(**options, resolution=24)
    parameters = sampled(coarse)
    # Every third cell of the fine grid has the centre of a cell of the coarse one.
    every_third = (slice(None), *(slice(1, None, 3) for _ in extent))
    for fields in ("initial_state", "coefficients"):
        expected = getattr(coarse, fields)(parameters)
        assert np.allclose(getattr(fine, fields)(parameters)[every_third], expected, rtol=1e-12, atol=1e-12)


def test_trajectories_converge_on_finer_grids() -> None:
    errors = []
    finest = heat(resolution=108)
    parameters = sampled(finest) | {"log_deviation": 0.5}
    reference = finest.advance(finest.initial_state(parameters), parameters, 0.0, 0.05)
    for resolution in (12, 36):
        solver = heat(resolution=resolution)
        end = solver.advance(solver.initial_state(parameters), parameters, 0.0, 0.05)
        every = 108 // resolution
        errors.append(error(end, reference[:, every // 2 :: every, every // 2 :: every]))
    assert errors[1] < 0.02
    assert errors[0] / errors[1] > 6  # nine, were the reference exact


@pytest.mark.parametrize("kind", ["periodic", "dirichlet", "neumann"])
def test_modes_are_orthonormal_and_their_field_has_the_given_variance(kind: str) -> None:
    x = (np.arange(400) + 0.5) / 400 * 0.7
    values = modes(kind, 0.7, 9, x)
    assert np.allclose(values @ values.T / 400, np.eye(9), atol=1e-12)
    deviation = deviations([kind, "periodic"], [0.7, 1.0], 9, 0.1, 4.0)
    assert np.sum(deviation**2) == pytest.approx(1)
    assert deviation.max() < 1
    # A power law: doubling the exponent squares the ratios.
    ratios = deviation / deviation[1, 1]
    steeper = deviations([kind, "periodic"], [0.7, 1.0], 9, 0.1, 8.0)
    assert np.allclose(steeper / steeper[1, 1], ratios**2)


def test_the_geometric_mean_and_the_spread_of_the_diffusivity_are_the_drawn_ones() -> None:
    solver = heat(resolution=64)
    for seed in range(10):
        parameters = sampled(solver, seed)
        logarithm = np.log(solver.coefficients(parameters)[0] / parameters["mean_diffusivity"])
        spread = parameters["log_deviation"] ** 2 * np.sum(parameters["diffusivity_coefficients"] ** 2)
        assert np.mean(logarithm) == pytest.approx(0, abs=1e-12)
        assert np.mean(logarithm**2) == pytest.approx(spread, rel=1e-10)
    rng = np.random.default_rng(0)
    draws = [np.sum(solver.sample(rng)["diffusivity_coefficients"] ** 2) for _ in range(3000)]
    assert np.mean(draws) == pytest.approx(1, abs=5 * np.std(draws) / np.sqrt(len(draws)))


def test_inclusions_have_the_drawn_contrast() -> None:
    solver = heat(diffusivity={"kind": "inclusions"})
    parameters = sampled(solver)
    k = solver.coefficients(parameters)[0]
    around = parameters["matrix_diffusivity"]
    assert np.allclose(np.unique(k), [around, around * parameters["contrast"]])


def test_outside_draws_solve_too() -> None:
    solver = heat(resolution=16, heaters={"count": 1})
    parameters = solver.sample(np.random.default_rng(0), outside=True)
    state = solver.advance(solver.initial_state(parameters), parameters, 0.0, 0.1)
    assert np.all(np.isfinite(state))


def test_changed_parameters_are_noticed() -> None:
    solver = heat(extent=[1.0], resolution=16)
    parameters = sampled(solver)
    before = solver.coefficients(parameters)
    parameters["mean_diffusivity"] *= 2
    assert np.allclose(solver.coefficients(parameters), 2 * before)
    parameters["diffusivity_coefficients"] *= 0
    assert np.allclose(solver.coefficients(parameters), parameters["mean_diffusivity"])


def test_without_an_amplitude_the_walls_profile_is_left() -> None:
    walls = {"x": "dirichlet", "y": "dirichlet"}
    all_round = heat(resolution=8, boundary=walls, boundary_values={"x": [1.5, 1.5], "y": [1.5, 1.5]})
    start = all_round.initial_state(sampled(all_round) | {"amplitude": 0.0})
    assert np.allclose(start, 1.5)
    across = heat(resolution=8, boundary={"x": "dirichlet"}, boundary_values={"x": [1.0, 2.0]})
    start = across.initial_state(sampled(across) | {"amplitude": 0.0})
    assert np.allclose(start, 1 + across.spec.axes[0].coordinates[:, None])
