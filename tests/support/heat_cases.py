"""The heat solver from its shipped YAML with some options changed, and what its tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import yaml
from mpi4py import MPI

import configs
from pipeline.config.build import build_solver
from solvers.contract import Parameters
from solvers.heat import Heat
from solvers.heat.operator import DiffusionOperator
from solvers.numerics.grid import Grid

ZERO = ((0.0, 0.0),) * 3
INSULATED = {"x": "neumann", "y": "neumann", "z": "neumann"}


def heat(communicator: MPI.Intracomm = MPI.COMM_SELF, **changes: Any) -> Heat:
    """The shipped solver; `changes` go over its options, nested ones key by key."""
    options = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "heat.yaml").read_text())
    solver = build_solver(_merged(options, changes), communicator)
    assert isinstance(solver, Heat)
    return solver


def sampled(solver: Heat, seed: int = 0) -> Parameters:
    return solver.sample(np.random.default_rng(seed))


def on_cells(solver: Heat, function: Callable[..., np.ndarray]) -> np.ndarray:
    """A function of the coordinates, at the centres of the solver's cells, as a state."""
    mesh = np.meshgrid(*(solver.grid.coordinates(axis) for axis in solver.grid.axes), indexing="ij")
    return np.broadcast_to(function(*mesh), solver.grid.block_shape)[None].astype(float)


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """The root mean square of the difference over that of `expected`."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def order(errors: list[float], ratio: float = 2.0) -> float:
    """The observed order: the slope of the last two errors, each at a `ratio` times finer."""
    return float(np.log(errors[-2] / errors[-1]) / np.log(ratio))


def grid(resolution: tuple[int, ...], *kinds: str, extent: float = 1.0) -> Grid:
    return Grid(MPI.COMM_SELF, (extent,) * len(kinds), resolution, kinds)


def random_diffusivity(on: Grid, seed: int = 0) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).standard_normal(on.block_shape))


def matrix(operator: DiffusionOperator) -> np.ndarray:
    """The operator's matrix, column by column."""
    on = operator.grid
    columns = []
    for unit in np.eye(int(np.prod(on.block_shape))):
        y, out = operator.padded(), operator.padded()
        operator.load(y, unit.reshape(on.block_shape))
        operator.march(y, out, operator.padded(), np.array([[0.0, 0.0, 1.0, 0.0]]))
        columns.append(out[operator.interior].ravel())
    return np.array(columns).T


def semi_discrete(
    operator: DiffusionOperator, start: np.ndarray, source: np.ndarray, time: float
) -> np.ndarray:
    """The exact solution of du/dt = A u + s."""
    size = start.size
    augmented = np.zeros((size + 1, size + 1))  # the source as the column of one more, constant unknown
    augmented[:size, :size], augmented[:size, size] = matrix(operator), source.ravel()
    end = scipy.linalg.expm(time * augmented) @ np.append(start.ravel(), 1.0)
    return np.asarray(end[:size]).reshape(start.shape)


def _merged(options: Any, changes: Any) -> Any:
    if not isinstance(changes, dict) or not isinstance(options, dict):
        return changes
    return options | {name: _merged(options.get(name), value) for name, value in changes.items()}
