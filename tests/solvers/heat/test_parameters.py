"""Random parameters of a trajectory: their ranges, and their independence of the grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.heat_cases import (
    INSULATED_WALLS,
    final_state,
    heat,
    prepare_trajectory,
    relative_error,
    sample_parameters,
)

KINDS: dict[str, dict[str, Any]] = {
    "constant k, few modes": {"diffusivity": {"kind": "constant"}, "initial": {"kind": "modes", "modes": 7}},
    "lognormal k, random field": {},
    "inclusions, blobs": {
        "diffusivity": {"kind": "inclusions", "inclusion_radius": [0.13, 0.2]},
        "initial": {"kind": "blobs", "width": [0.1, 0.15]},
    },
}
HEATERS = {"count": 2, "width": [0.1, 0.15]}
MIXED_WALLS = {"x": "dirichlet", "y": "neumann", "z": "periodic"}
EXTENTS = [[1.0], [1.0, 0.6], [1.0, 0.6, 0.8]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_depends_only_on_the_seed(kind: str) -> None:
    coarse_solver = heat(**KINDS[kind], heaters=HEATERS, resolution=8)
    fine_solver = heat(**KINDS[kind], heaters=HEATERS, resolution=[20, 12])

    @hypothesis_settings(deadline=None, max_examples=20)
    @given(seed=st.integers(0, 2**32), outside=st.booleans())
    def check_sample(seed: int, outside: bool) -> None:
        coarse_sample = coarse_solver.sample(np.random.default_rng(seed), outside)
        fine_sample = fine_solver.sample(np.random.default_rng(seed), outside)
        assert coarse_sample.keys() == fine_sample.keys()
        assert all(np.array_equal(coarse_sample[name], fine_sample[name]) for name in coarse_sample)
        is_inside = []
        for parameter in coarse_solver.spec.parameters:
            value = coarse_sample[parameter.name]
            assert isinstance(value, float)
            is_inside.append(parameter.low <= value <= parameter.high)
            assert value > 0
        assert all(is_inside) is not outside

    check_sample()


@pytest.mark.parametrize(
    "boundary", [MIXED_WALLS, dict.fromkeys("xyz", "periodic"), INSULATED_WALLS], ids=str
)
@pytest.mark.parametrize("extent", EXTENTS, ids=len)
@pytest.mark.parametrize("kind", KINDS)
def test_fields_are_the_same_on_every_grid(kind: str, extent: list[float], boundary: dict[str, str]) -> None:
    options: dict[str, Any] = {"extent": extent, "boundary": boundary, "heaters": HEATERS, **KINDS[kind]}
    options["boundary_values"] = {"x": [1.0, 2.0]}
    parameters = sample_parameters(heat(**options, resolution=8))
    coarse_trajectory = heat(**options, resolution=8).prepare(parameters)
    fine_trajectory = heat(**options, resolution=24).prepare(parameters)
    # Every third cell of the fine grid has the centre of a cell of the coarse grid.
    coarse_centres = (slice(None), *(slice(1, None, 3) for _ in extent))
    for actual, expected in (
        (fine_trajectory.initial_state, coarse_trajectory.initial_state),
        (fine_trajectory.coefficient_fields, coarse_trajectory.coefficient_fields),
    ):
        assert np.allclose(actual[coarse_centres], expected, rtol=1e-12, atol=1e-12)


def test_trajectories_converge_on_finer_grids() -> None:
    finest_solver = heat(resolution=108)
    parameters = sample_parameters(finest_solver) | {"log_deviation": 0.5}
    reference = final_state(finest_solver.prepare(parameters), 0.05)
    errors = []
    for resolution in (12, 36):
        end_state = final_state(heat(resolution=resolution).prepare(parameters), 0.05)
        stride = 108 // resolution
        errors.append(relative_error(end_state, reference[:, stride // 2 :: stride, stride // 2 :: stride]))
    assert errors[1] < 0.02
    assert errors[0] / errors[1] > 6  # the ratio is 9 with an exact reference


def test_the_diffusivity_has_the_drawn_geometric_mean_and_deviation() -> None:
    solver = heat(resolution=64)
    for seed in range(10):
        parameters = sample_parameters(solver, seed)
        k = solver.prepare(parameters).coefficient_fields[0]
        logarithm = np.log(k / parameters["mean_diffusivity"])
        variance = parameters["log_deviation"] ** 2 * np.sum(parameters["diffusivity_coefficients"] ** 2)
        assert np.mean(logarithm) == pytest.approx(0, abs=1e-12)
        assert np.mean(logarithm**2) == pytest.approx(variance, rel=1e-10)
    rng = np.random.default_rng(0)
    variances = [np.sum(solver.sample(rng)["diffusivity_coefficients"] ** 2) for _ in range(3000)]
    assert np.mean(variances) == pytest.approx(1, abs=5 * np.std(variances) / np.sqrt(len(variances)))


def test_inclusions_have_the_drawn_contrast() -> None:
    solver = heat(diffusivity={"kind": "inclusions"})
    parameters = sample_parameters(solver)
    matrix_diffusivity = parameters["matrix_diffusivity"]
    k = solver.prepare(parameters).coefficient_fields[0]
    assert np.allclose(np.unique(k), [matrix_diffusivity, matrix_diffusivity * parameters["contrast"]])


def test_samples_outside_the_ranges_have_finite_solutions() -> None:
    solver = heat(resolution=16, heaters={"count": 1})
    parameters = solver.sample(np.random.default_rng(0), outside=True)
    assert np.all(np.isfinite(final_state(solver.prepare(parameters), 0.1)))


def test_a_trajectory_depends_on_the_current_values_of_its_parameters() -> None:
    solver = heat(extent=[1.0], resolution=16)
    parameters = sample_parameters(solver)
    fields_before = solver.prepare(parameters).coefficient_fields
    parameters["mean_diffusivity"] *= 2
    assert np.allclose(solver.prepare(parameters).coefficient_fields, 2 * fields_before)
    parameters["diffusivity_coefficients"] *= 0
    assert np.allclose(solver.prepare(parameters).coefficient_fields, parameters["mean_diffusivity"])


def test_an_initial_state_of_amplitude_zero_is_the_profile_between_the_walls() -> None:
    walls = {"x": "dirichlet", "y": "dirichlet"}
    solver_with_equal_walls = heat(
        resolution=8, boundary=walls, boundary_values={"x": [1.5, 1.5], "y": [1.5, 1.5]}
    )
    assert np.allclose(prepare_trajectory(solver_with_equal_walls, amplitude=0.0).initial_state, 1.5)
    solver_with_gradient = heat(resolution=8, boundary={"x": "dirichlet"}, boundary_values={"x": [1.0, 2.0]})
    profile = 1 + solver_with_gradient.spec.axes[0].centres[:, None]
    assert np.allclose(prepare_trajectory(solver_with_gradient, amplitude=0.0).initial_state, profile)
