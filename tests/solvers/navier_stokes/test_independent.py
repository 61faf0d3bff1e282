"""A generated trajectory compared with a solver for the velocity: another equation and another method."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from scipy.integrate import solve_ivp

from tests.support.heat_cases import relative_error
from tests.support.in_process import generate_in_process
from tests.support.navier_stokes_cases import spectral_derivative

CELLS = 32


def solve_velocity_equations(
    initial_fields: np.ndarray, force: np.ndarray, viscosity: float, kappa: float, duration: float
) -> np.ndarray:
    """Return (u, v, s) after `duration` (s) by the equations of the velocity.

    u_t + u . grad u + grad p = nu Lap u + F, curl F = force, s_t + u . grad s = kappa Lap s. The method is
    Galerkin in the waves below a third of the cells, with products on a grid of twice the cells. The pressure
    follows by projection. The time integration is Dormand-Prince of order 8.
    """
    k = 2 * np.pi * np.fft.fftfreq(CELLS, 1 / CELLS)
    is_resolved = np.abs(k) < 2 * np.pi * CELLS / 3
    kx, ky = np.meshgrid(k[is_resolved], k[is_resolved], indexing="ij")
    squared_wave_number = np.where(kx**2 + ky**2 > 0, kx**2 + ky**2, 1.0)
    indices = np.ix_(*[np.round(k[is_resolved] / (2 * np.pi)).astype(int)] * 2)
    nu = np.array([viscosity, viscosity, kappa])[:, None, None]

    def coefficients(field: np.ndarray) -> np.ndarray:
        count = field.shape[-1]
        return (np.fft.fft2(field) / count**2)[(..., *indices)]

    def values(modes: np.ndarray, count: int) -> np.ndarray:
        padded_modes = np.zeros((*modes.shape[:-2], count, count), complex)
        padded_modes[(..., *indices)] = modes
        return np.fft.ifft2(padded_modes).real * count**2

    curl = coefficients(force)
    acceleration = np.array([1j * ky * curl, -1j * kx * curl, 0 * curl]) / squared_wave_number

    def rate(_: float, real_values: np.ndarray) -> np.ndarray:
        modes = real_values.view(complex).reshape(3, *kx.shape)
        u, v, _ = values(modes, 2 * CELLS)
        advection = u * values(1j * kx * modes, 2 * CELLS) + v * values(1j * ky * modes, 2 * CELLS)
        tendency = acceleration - coefficients(advection) - nu * (kx**2 + ky**2) * modes
        pressure = (kx * tendency[0] + ky * tendency[1]) / squared_wave_number
        tendency[:2] -= np.array([kx * pressure, ky * pressure])
        tendency[:2, (kx == 0) & (ky == 0)] = 0.0
        return tendency.ravel().view(float)

    real_values = coefficients(initial_fields).ravel().view(float)
    final_values = solve_ivp(rate, (0, duration), real_values, "DOP853", rtol=1e-9, atol=1e-12).y[:, -1]
    return values(np.ascontiguousarray(final_values).view(complex).reshape(3, *kx.shape), CELLS)


def test_a_velocity_solver_reproduces_the_last_frame_of_a_shard(tmp_path: Path) -> None:
    options = (
        "solver=navier_stokes", f"solver.resolution={CELLS}",
        "solver.initial.kind=random_field", "solver.initial.amplitude=[2.0,3.0]",
        "solver.initial.modes=9", "solver.forcing.amplitude=[1.0,2.0]",
        "solver.tracer.present=true", "solver.tracer.modes=9", "solver.tolerance=1e-8",
        "samples.train=2", "samples.valid=1", "samples.test=1", "samples.per_shard=2",
        "output.duration=0.8", "output.steps=6", "storage.precision=float64",
    )  # fmt: skip
    (shard,) = (generate_in_process(tmp_path, *options) / "data" / "train").glob("*.hdf5")
    with h5py.File(shard) as file:
        scalars, velocities = file["t0_fields"], file["t1_fields/velocity"][:]
        states = np.stack([velocities[..., 0], velocities[..., 1], scalars["tracer"][:]], axis=2)
        vorticity, forces = scalars["vorticity"][:], scalars["forcing"][:]
        coefficients = [file["scalars"][name][:] for name in ("viscosity", "tracer_diffusivity")]
    for index in range(2):
        (first_frame, *_, last_frame), force = states[index], forces[index]
        viscosity, kappa = (float(values[index]) for values in coefficients)
        reference = solve_velocity_equations(first_frame, force, viscosity, kappa, 0.8)
        assert relative_error(first_frame, last_frame) > 0.3
        for channel in range(3):
            assert relative_error(last_frame[channel], reference[channel]) < 1e-6
        u, v = reference[0], reference[1]
        curl = spectral_derivative(v, -2, 1.0) - spectral_derivative(u, -1, 1.0)
        assert relative_error(vorticity[index, -1], curl) < 1e-6
