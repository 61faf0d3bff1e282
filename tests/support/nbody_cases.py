"""N-body solvers with the options of the shipped YAML, and helpers of their tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mpi4py import MPI
from scipy.integrate import solve_ivp

import configs
from pipeline.config.build import build_solver
from solvers.contract import Parameters, SteppedTrajectory
from solvers.nbody import NBody
from solvers.nbody.trajectory import BodiesTrajectory

#: Options of a two-body orbit with the period 2 pi s, and of spheres in Henon's units.
KEPLER = {"kind": "two_body", "total_mass": 1.0}
SPHERE = {"total_mass": 1.0, "num_bodies": 200}


def nbody(communicator: MPI.Intracomm = MPI.COMM_SELF, **changes: Any) -> NBody:
    """Return the shipped solver with changed options, and with single keys changed in the system."""
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "nbody.yaml").read_text())
    system = options["system"] | changes.pop("system", {})
    solver = build_solver(options | changes | {"system": system}, communicator)
    assert isinstance(solver, NBody)
    return solver


def sample_parameters(solver: NBody, seed: int = 0) -> Parameters:
    """Return the parameters that the solver samples with a seed."""
    return solver.sample(np.random.default_rng(seed))


def prepare_trajectory(solver: NBody, seed: int = 0) -> BodiesTrajectory:
    """Return the trajectory of the parameters of a seed."""
    return solver.prepare(sample_parameters(solver, seed))


def state_after(trajectory: SteppedTrajectory, duration: float, frames: int = 1) -> np.ndarray:
    """Return the state after `duration` (s), computed in equal frames."""
    state = trajectory.initial_state
    for frame in range(frames):
        state = trajectory.advance(state, frame * duration / frames, duration / frames)
    return state


def masses(trajectory: BodiesTrajectory) -> np.ndarray:
    """Return the coefficient field of the masses, (n,)."""
    mass: np.ndarray = trajectory.coefficient_fields[0]
    return mass


def accelerations(positions: np.ndarray, g: np.ndarray, softening: float) -> np.ndarray:
    """Return the accelerations (m/s^2) by Newton's law from all pairs of the positions (d, n), m."""
    separations = positions[:, None, :] - positions[:, :, None]
    squares = np.sum(separations**2, axis=0) + softening**2
    np.fill_diagonal(squares, 1.0)
    result: np.ndarray = np.sum(g * separations * squares**-1.5, axis=2)
    return result


def state_by_dop853(
    trajectory: BodiesTrajectory, duration: float, constant: float = 1.0, softening: float = 0.0
) -> np.ndarray:
    """Return the state after `duration` (s) by Dormand & Prince's DOP853 of eighth order."""
    initial_state = trajectory.initial_state
    g = constant * masses(trajectory)

    def rate(_: float, y: np.ndarray) -> np.ndarray:
        x, v = y.reshape(2, -1, g.size)
        return np.concatenate([v, accelerations(x, g, softening)]).ravel()

    solution = solve_ivp(rate, (0.0, duration), initial_state.ravel(), "DOP853", rtol=1e-13, atol=1e-14)
    final_state: np.ndarray = solution.y[:, -1].reshape(initial_state.shape)
    return final_state
