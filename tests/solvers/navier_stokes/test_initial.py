"""Initial states of the Navier-Stokes solver: their distribution, and their independence of the grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from pipeline.config.build import build_solver
from solvers.contract import SteppedTrajectory
from solvers.navier_stokes import NavierStokes
from tests.support.heat_cases import relative_error
from tests.support.in_process import settings_of
from tests.support.navier_stokes_cases import (
    NO_FORCING,
    TRACER,
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
def test_parameters_have_the_same_trajectory_on_a_finer_grid(kind: str) -> None:
    options: dict[str, Any] = {"extent": [1.0, 0.8], "initial": KINDS[kind], **TRACER}
    coarse_solver, fine_solver = flow(**options, resolution=[64, 48]), flow(**options, resolution=[192, 144])
    parameters = sample_parameters(coarse_solver)
    fine_parameters = sample_parameters(fine_solver)
    assert all(np.array_equal(parameters[name], fine_parameters[name]) for name in parameters)
    trajectories = [solver.prepare(parameters) for solver in (coarse_solver, fine_solver)]
    initial_states = [trajectory.initial_state for trajectory in trajectories]
    # Every third cell of the fine grid has the centre of a coarse cell. Gaussians and sech^2 have waves that
    # the coarse grid cannot represent.
    tolerance = 1e-12 if kind in {"matern", "random_field", "taylor_green"} else 1e-3
    assert relative_error(initial_states[1][:, 1::3, 1::3], initial_states[0]) < tolerance
    final_states = [trajectory.advance(trajectory.initial_state, 0.0, 0.5) for trajectory in trajectories]
    assert relative_error(final_states[0], initial_states[0]) > 0.01
    assert relative_error(final_states[1][:, 1::3, 1::3], final_states[0]) < 1e-3


def mean_power(solver: NavierStokes, num_samples: int, seed: int) -> np.ndarray:
    """Return the mean over draws of the squared Fourier coefficients of the initial vorticity."""
    rng = np.random.default_rng(seed)
    vorticities = [solver.prepare(solver.sample(rng)).initial_state[0] for _ in range(num_samples)]
    coefficients = np.fft.fft2(vorticities) / vorticities[0].size
    mean_squares: np.ndarray = np.mean(np.abs(coefficients) ** 2, axis=0)
    return mean_squares


def test_the_experiment_has_the_initial_vorticity_of_the_published_data_and_advects(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "experiment=navier_stokes")
    solver = build_solver(settings.solver, MPI.COMM_SELF)
    # The generator draws N(0, 2 7^3 (-Lap + 49)^-2.5); modes of the same wave number have the same variance.
    rng = np.random.default_rng(0)
    samples = [solver.sample(rng) for _ in range(1000)]
    coefficients = [sample["amplitude"] * sample["initial_coefficients"][:4, :4] for sample in samples]
    wave_numbers = 2 * np.pi * np.array([0, 1, 1, 2])
    variances = 2 * 7**3 * (wave_numbers[:, None] ** 2 + wave_numbers**2 + 49) ** -2.5
    variances[0, 0] = 0.0
    # The relative standard deviation of a mean square of 1000 normals is 4.5 %.
    np.testing.assert_allclose(np.mean(np.square(coefficients), axis=0), variances, rtol=0.25)
    # Without advection each wave decays and grows by the forcing alone.
    trajectory, duration = solver.prepare(samples[0]), settings.output.duration
    assert isinstance(trajectory, SteppedTrajectory)
    assert trajectory.coefficient_fields is not None
    vorticity, forcing = np.fft.fft2([trajectory.initial_state[0], trajectory.coefficient_fields[0]])
    waves = 2 * np.pi * np.fft.fftfreq(64, 1 / 64)
    rate = samples[0]["viscosity"] * (waves[:, None] ** 2 + waves**2)
    supply = -np.expm1(-rate * duration) / np.where(rate > 0, rate, 1.0)
    linear_solution = np.fft.ifft2(np.exp(-rate * duration) * vorticity + supply * forcing).real
    solution = trajectory.advance(trajectory.initial_state, 0.0, duration)[0]
    assert 0.05 < relative_error(linear_solution, solution) < 0.6


def test_the_matern_field_has_its_variance_in_each_mode() -> None:
    # The field is N(0, 7^1.5 (-Lap + 49)^-2.5) on the unit square. The variances are the eigenvalues.
    solver = flow(
        resolution=24, viscosity=[1e-2, 1e-2], initial={"kind": "matern", "modes": 15}, **NO_FORCING
    )
    num_samples = 1500
    power = mean_power(solver, num_samples, seed=0)
    x, y = np.meshgrid(*[np.fft.fftfreq(24, 1 / 24)] * 2, indexing="ij")
    expected = 7**1.5 * (4 * np.pi**2 * (x**2 + y**2) + 49) ** -2.5
    is_nonzero = (np.maximum(abs(x), abs(y)) <= 7) & (x**2 + y**2 > 0)
    assert np.all(power[~is_nonzero] < 1e-20)
    # The values |c|^2 of 112 independent complex coefficients are exponentially distributed.
    assert np.max(np.abs(power[is_nonzero] / expected[is_nonzero] - 1)) < 5 / np.sqrt(num_samples)
    assert np.mean(power[is_nonzero] / expected[is_nonzero]) == pytest.approx(
        1, abs=4 / np.sqrt(112 * num_samples)
    )


def test_a_random_field_has_its_amplitude_and_spectrum() -> None:
    options = {"kind": "random_field", "amplitude": [2.0, 2.0], "modes": 9, "correlation_length": 0.1}
    solver = flow(resolution=32, viscosity=[1e-2, 1e-2], initial=options, **NO_FORCING)
    num_samples = 600
    power = mean_power(solver, num_samples, seed=1)
    assert np.sum(power) == pytest.approx(4.0, rel=0.05)
    for x, y in ((1, 0), (0, 1), (1, 1), (2, 1), (0, 3)):
        expected = ((1 + 0.01 * 4 * np.pi**2 * (x**2 + y**2)) / (1 + 0.01 * 4 * np.pi**2)) ** -5
        assert power[x, y] / power[1, 0] == pytest.approx(expected, rel=7 / np.sqrt(num_samples))


def test_vortices_are_gaussians_with_the_given_peaks() -> None:
    solver = flow(
        resolution=64, initial={"kind": "vortices", "count": 1, "radius": [0.05, 0.05]}, **NO_FORCING
    )
    parameters = sample_parameters(solver) | {"amplitude": 1.0}
    parameters["vortex_peaks"] = np.array([-0.8])
    parameters["vortex_centres"] = np.array([[0.4, 0.6]])
    x, y = mesh(solver)
    gaussian = -0.8 * np.exp(-((x - 0.4) ** 2 + (y - 0.6) ** 2) / (2 * 0.05**2))
    vorticity = solver.prepare(parameters).initial_state[0]
    assert np.max(np.abs(vorticity - (gaussian - np.mean(gaussian)))) < 0.01


def test_a_rippled_shear_layer_rolls_up() -> None:
    trajectory = prepare_trajectory(
        resolution=64, viscosity=[2e-4, 2e-4], **NO_FORCING,
        initial={"kind": "shear_layers", "amplitude": [10.0, 10.0], "thickness": [0.04, 0.04]},
        hyperviscosity={"order": 2, "range": [2e-7, 2e-7]},
    )  # fmt: skip
    state = trajectory.initial_state
    vorticity = state[0].mean(axis=0)
    assert np.argmin(vorticity) in {15, 16}
    assert np.argmax(vorticity) in {47, 48}
    assert np.max(vorticity) == pytest.approx(10, rel=0.05)
    rms_velocity = np.sqrt(np.mean(state[2] ** 2))
    assert rms_velocity == pytest.approx(0.05 * 10 * 0.04, rel=1e-3)
    # The fastest wave of a tanh layer grows at 0.19 of the shear (Michalke 1964). The longest wave is slower.
    amplitudes = []
    for _ in range(3):
        state = trajectory.advance(state, 0.0, 0.5)
        amplitudes.append(np.linalg.norm(np.fft.rfft(state[2], axis=0)[1]))
    assert 0.1 * 10 < np.log(amplitudes[2] / amplitudes[1]) / 0.5 < 0.19 * 10
