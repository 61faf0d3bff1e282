"""Navier-Stokes solvers with the options of the shipped YAML, and helpers of their tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mpi4py import MPI

import configs
from pipeline.config.build import build_solver
from solvers.contract import Parameters
from solvers.navier_stokes import NavierStokes
from solvers.navier_stokes.trajectory import FlowTrajectory

NO_FORCING: dict[str, Any] = {"forcing": {"kind": "none"}}
TRACER: dict[str, Any] = {"tracer": {"present": True, "modes": 6}}
#: A flow of 32 x 24 cells with every linear term, a tracer, and waves that interact within the first second.
LIVELY_FLOW: dict[str, Any] = {
    "extent": [1.0, 0.8],
    "resolution": [32, 24],
    "viscosity": [3e-3, 3e-3],
    "hyperviscosity": {"order": 2, "range": [1e-7, 1e-7]},
    "drag": [0.1, 0.1],
    "initial": {"kind": "random_field", "amplitude": [5.0, 5.0], "modes": 8, "correlation_length": 0.2},
    "tracer": {"present": True, "diffusivity": [3e-3, 3e-3], "modes": 6},
}


def flow(communicator: MPI.Intracomm = MPI.COMM_SELF, **changes: Any) -> NavierStokes:
    """Return the shipped solver with changed options, in which a mapping changes single keys of a group."""
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "navier_stokes.yaml").read_text())
    for name, value in changes.items():
        options[name] = options[name] | value if isinstance(value, dict) else value
    solver = build_solver(options, communicator)
    assert isinstance(solver, NavierStokes)
    return solver


def sample_parameters(solver: NavierStokes, seed: int = 0) -> Parameters:
    """Return the parameters that the solver samples with a seed."""
    return solver.sample(np.random.default_rng(seed))


def prepare_trajectory(**changes: Any) -> FlowTrajectory:
    """Return the trajectory of the parameters of seed 0, of the shipped solver with changed options."""
    solver = flow(**changes)
    return solver.prepare(sample_parameters(solver))


def mesh(solver: NavierStokes) -> tuple[np.ndarray, ...]:
    """Return the coordinates x and y (m) of this rank's cells."""
    return np.meshgrid(*(solver.grid.coordinates(axis) for axis in solver.grid.axes), indexing="ij")


def state_with_vorticity(vorticity: np.ndarray, tracer: np.ndarray | None = None) -> np.ndarray:
    """Return a state for `advance` with NaN as the velocity, which `advance` does not read."""
    nan_velocity = np.full_like(vorticity, np.nan)
    return np.array([vorticity, nan_velocity, nan_velocity] + ([] if tracer is None else [tracer]))


def spectral_derivative(values: np.ndarray, axis: int, length: float) -> np.ndarray:
    """Return the derivative along one of the last two axes of a periodic box, numbered from the end."""
    count = values.shape[axis]
    wave_numbers = 2 * np.pi * np.fft.fftfreq(count, length / count)
    wave_numbers[count // 2] = 0.0
    shape = [1] * values.ndim
    shape[axis] = count
    derivative: np.ndarray = np.fft.ifft(
        1j * wave_numbers.reshape(shape) * np.fft.fft(values, axis=axis), axis=axis
    ).real
    return derivative
