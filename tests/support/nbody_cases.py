"""The n-body solver from its shipped YAML with some options changed, and what its tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mpi4py import MPI
from scipy.integrate import solve_ivp

import configs
from pipeline.config.build import build_solver
from solvers.contract import Parameters
from solvers.nbody import NBody

#: A two-body orbit of period 2 pi s, and spheres in Henon's units.
KEPLER = {"kind": "two_body", "total_mass": 1.0}
SPHERE = {"total_mass": 1.0, "num_bodies": 200}


def nbody(communicator: MPI.Intracomm = MPI.COMM_SELF, **changes: Any) -> NBody:
    """The shipped solver; `changes` go over its options, those of the system key by key."""
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "nbody.yaml").read_text())
    system = options["system"] | changes.pop("system", {})
    solver = build_solver(options | changes | {"system": system}, communicator)
    assert isinstance(solver, NBody)
    return solver


def sampled(solver: NBody, seed: int = 0) -> Parameters:
    return solver.sample(np.random.default_rng(seed))


def advanced(solver: NBody, parameters: Parameters, duration: float, frames: int = 1) -> np.ndarray:
    """The state after `duration`, reached in equal frames."""
    state = solver.initial_state(parameters)
    for frame in range(frames):
        state = solver.advance(state, parameters, frame * duration / frames, duration / frames)
    return state


def accelerations(positions: np.ndarray, g: np.ndarray, softening: float) -> np.ndarray:
    """Newton's law written down anew, from all pairs (d, n, n) of the positions (d, n)."""
    apart = positions[:, None, :] - positions[:, :, None]
    squares = np.sum(apart**2, axis=0) + softening**2
    np.fill_diagonal(squares, 1.0)
    result: np.ndarray = np.sum(g * apart * squares**-1.5, axis=2)
    return result


def independent(
    solver: NBody, parameters: Parameters, duration: float, constant: float = 1.0, softening: float = 0.0
) -> np.ndarray:
    """The state after `duration` by Dormand & Prince's DOP853 of eighth order, over `accelerations`."""
    begin = solver.initial_state(parameters)
    g = constant * solver.coefficients(parameters)[0]

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        x, v = y.reshape(2, -1, g.size)
        return np.concatenate([v, accelerations(x, g, softening)]).ravel()

    result: np.ndarray = solve_ivp(slope, (0.0, duration), begin.ravel(), "DOP853", rtol=1e-13, atol=1e-14).y[
        :, -1
    ]
    return result.reshape(begin.shape)
