"""The initial states of the Navier-Stokes solver: their law, and their independence of the grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from solvers.navier_stokes import NavierStokes
from tests.support.heat_cases import error
from tests.support.navier_stokes_cases import (
    TRACER,
    UNFORCED,
    flow,
    mesh,
    prepare_trajectory,
    sample_parameters,
)

KINDS: dict[str, dict[str, Any]] = {
    "matern": {"kind": "matern", "modes": 12},
    "random_field": {"kind": "random_field", "modes": 12},
    "taylor_green": {"kind": "taylor_green", "waves": 3},
    "shear_layers": {"kind": "shear_layers", "thickness": [0.06, 0.08], "waves": 3},
    "vortices": {"kind": "vortices", "radius": [0.06, 0.1]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_give_the_same_trajectory_on_a_finer_grid(kind: str) -> None:
    options: dict[str, Any] = {"extent": [1.0, 0.8], "initial": KINDS[kind], **TRACER}
    coarse, fine = flow(**options, resolution=[64, 48]), flow(**options, resolution=[192, 144])
    parameters = sample_parameters(coarse)
    fine_parameters = sample_parameters(fine)
    assert all(np.array_equal(parameters[name], fine_parameters[name]) for name in parameters)
    trajectories = [solver.prepare(parameters) for solver in (coarse, fine)]
    starts = [trajectory.initial_state for trajectory in trajectories]
    # Every third cell of the fine grid has the centre of a coarse cell; Gaussians and sech^2 have
    # waves that the coarse grid drops.
    bound = 1e-12 if kind in {"matern", "random_field", "taylor_green"} else 1e-3
    assert error(starts[1][:, 1::3, 1::3], starts[0]) < bound
    ends = [trajectory.advance(trajectory.initial_state, 0.0, 0.5) for trajectory in trajectories]
    assert error(ends[0], starts[0]) > 0.01
    assert error(ends[1][:, 1::3, 1::3], ends[0]) < 1e-3


def mean_power(solver: NavierStokes, draws: int, seed: int) -> np.ndarray:
    """Return the mean over draws of the squared Fourier coefficients of the initial vorticity."""
    rng = np.random.default_rng(seed)
    vorticities = [solver.prepare(solver.sample(rng)).initial_state[0] for _ in range(draws)]
    coefficients = np.fft.fft2(vorticities) / vorticities[0].size
    mean: np.ndarray = np.mean(np.abs(coefficients) ** 2, axis=0)
    return mean


def test_the_matern_field_has_the_variance_of_its_law_in_each_mode() -> None:
    # N(0, 7^1.5 (-Lap + 49)^-2.5) on the unit square: a normalised Fourier mode has that eigenvalue.
    solver = flow(resolution=24, viscosity=[1e-2, 1e-2], initial={"kind": "matern", "modes": 15}, **UNFORCED)
    draws = 1500
    power = mean_power(solver, draws, seed=0)
    x, y = np.meshgrid(*[np.fft.fftfreq(24, 1 / 24)] * 2, indexing="ij")
    expected = 7**1.5 * (4 * np.pi**2 * (x**2 + y**2) + 49) ** -2.5
    kept_modes = (np.maximum(abs(x), abs(y)) <= 7) & (x**2 + y**2 > 0)
    assert np.all(power[~kept_modes] < 1e-20)
    # |c|^2 of a complex coefficient is exponentially distributed; 112 of them are independent.
    assert np.max(np.abs(power[kept_modes] / expected[kept_modes] - 1)) < 5 / np.sqrt(draws)
    assert np.mean(power[kept_modes] / expected[kept_modes]) == pytest.approx(1, abs=4 / np.sqrt(112 * draws))


def test_a_random_field_has_its_amplitude_and_spectrum() -> None:
    options = {"kind": "random_field", "amplitude": [2.0, 2.0], "modes": 9, "correlation_length": 0.1}
    solver = flow(resolution=32, viscosity=[1e-2, 1e-2], initial=options, **UNFORCED)
    draws = 600
    power = mean_power(solver, draws, seed=1)
    assert np.sum(power) == pytest.approx(4.0, rel=0.05)
    for x, y in ((1, 0), (0, 1), (1, 1), (2, 1), (0, 3)):
        expected = ((1 + 0.01 * 4 * np.pi**2 * (x**2 + y**2)) / (1 + 0.01 * 4 * np.pi**2)) ** -5
        assert power[x, y] / power[1, 0] == pytest.approx(expected, rel=7 / np.sqrt(draws))


def test_vortices_are_gaussians_of_their_peaks() -> None:
    solver = flow(resolution=64, initial={"kind": "vortices", "count": 1, "radius": [0.05, 0.05]}, **UNFORCED)
    parameters = sample_parameters(solver) | {"amplitude": 1.0}
    parameters["vortex_peaks"] = np.array([-0.8])
    parameters["vortex_centres"] = np.array([[0.4, 0.6]])
    x, y = mesh(solver)
    gaussian = -0.8 * np.exp(-((x - 0.4) ** 2 + (y - 0.6) ** 2) / (2 * 0.05**2))
    vorticity = solver.prepare(parameters).initial_state[0]
    assert np.max(np.abs(vorticity - (gaussian - np.mean(gaussian)))) < 0.01


def test_a_rippled_shear_layer_rolls_up() -> None:
    trajectory = prepare_trajectory(
        resolution=64, viscosity=[2e-4, 2e-4], **UNFORCED,
        initial={"kind": "shear_layers", "amplitude": [10.0, 10.0], "thickness": [0.04, 0.04]},
        hyperviscosity={"order": 2, "range": [2e-7, 2e-7]},
    )  # fmt: skip
    state = trajectory.initial_state
    vorticity = state[0].mean(axis=0)
    assert np.argmin(vorticity) in {15, 16}
    assert np.argmax(vorticity) in {47, 48}
    assert np.max(vorticity) == pytest.approx(10, rel=0.05)
    across = np.sqrt(np.mean(state[2] ** 2))
    assert across == pytest.approx(0.05 * 10 * 0.04, rel=1e-3)
    # The longest wave grows, slower than the fastest of tanh layers, at 0.19 of the shear (Michalke 1964).
    speeds = []
    for _ in range(3):
        state = trajectory.advance(state, 0.0, 0.5)
        speeds.append(np.linalg.norm(np.fft.rfft(state[2], axis=0)[1]))
    assert 0.1 * 10 < np.log(speeds[2] / speeds[1]) / 0.5 < 0.19 * 10
