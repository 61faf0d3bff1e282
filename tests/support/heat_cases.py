"""Heat solvers with the options of the shipped YAML, and helpers of their tests."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import yaml
from mpi4py import MPI

import configs
from pipeline.config.build import build_solver
from simsurrogate.relative_l2 import relative_l2
from simsurrogate.spec import DIRECTIONS
from solvers.contract import Parameters
from solvers.heat import Heat
from solvers.heat.operator import DiffusionOperator
from solvers.heat.trajectory import HeatTrajectory
from solvers.numerics.grid import Grid

ZERO_WALL_VALUES = ((0.0, 0.0),) * 3
INSULATED_WALLS = {"x": "neumann", "y": "neumann", "z": "neumann"}
CONDITIONS = ("periodic", "dirichlet", "neumann")


def heat(communicator: MPI.Intracomm = MPI.COMM_SELF, **changes: Any) -> Heat:
    """Return the shipped solver with `changes` merged into its options, nested options key by key.

    Boundary conditions beyond the dimension and values of periodic axes are removed from the changes.
    Boxes of different dimensions can therefore use the same changes.
    """
    options = _shipped_options()
    solver = build_solver(_merge_options(options, _effective_walls(options, changes)), communicator)
    assert isinstance(solver, Heat)
    return solver


def tight_tolerance(scheme: str) -> dict[str, float]:
    """Return the option `tolerance` of 1e-8 for a scheme with error control, and no option otherwise."""
    return {"tolerance": 1e-8} if scheme in ("adi", "rkl2") else {}


def sample_parameters(solver: Heat, seed: int = 0) -> Parameters:
    """Return the parameters of one trajectory."""
    return solver.sample(np.random.default_rng(seed))


def prepare_trajectory(solver: Heat, **changes: Any) -> HeatTrajectory:
    """Return the trajectory of `sample_parameters` with changed parameters."""
    return solver.prepare(sample_parameters(solver) | changes)


def final_state(trajectory: HeatTrajectory, duration: float) -> np.ndarray:
    """Return the state after `duration` (s) from the initial state, in one call of `advance`."""
    return trajectory.advance(trajectory.initial_state, 0.0, duration)


def on_cells(solver: Heat, function: Callable[..., np.ndarray]) -> np.ndarray:
    """Return the values of a function of the coordinates at the solver's cell centres, as a state."""
    return np.broadcast_to(function(*mesh(solver.grid)), solver.grid.block_shape)[None].astype(float)


def mesh(grid: Grid) -> list[np.ndarray]:
    """Return the coordinates (m) of all cell centres along each axis."""
    return np.meshgrid(*(grid.coordinates(axis) for axis in grid.axes), indexing="ij")


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the relative error in the L2 norm."""
    return float(relative_l2(actual, expected, np.linalg.norm, floor=0.0))


def observed_order(errors: list[float], ratio: float = 2.0) -> float:
    """Return the observed order from the last two errors and the `ratio` of their steps or cells."""
    return float(np.log(errors[-2] / errors[-1]) / np.log(ratio))


def unit_grid(resolution: tuple[int, ...], *conditions: str) -> Grid:
    """Return a grid of the unit box with these boundary conditions, on one rank."""
    return Grid(MPI.COMM_SELF, (1.0,) * len(conditions), resolution, conditions)


def random_diffusivity(grid: Grid, seed: int = 0) -> np.ndarray:
    """Return k (m^2/s) with independent log-normal values in all cells."""
    return np.exp(np.random.default_rng(seed).standard_normal(grid.block_shape))


def operator_matrix(operator: DiffusionOperator) -> np.ndarray:
    """Return the matrix of an operator, computed column by column."""
    grid = operator.grid
    columns = []
    for unit in np.eye(int(np.prod(grid.block_shape))):
        y, older_level = operator.padded_array(), operator.padded_array()
        operator.load(y, unit.reshape(grid.block_shape))
        newest_level, _ = operator.march(
            y, older_level, operator.padded_array(), np.array([[0.0, 0.0, 1.0, 0.0]])
        )
        columns.append(newest_level[operator.interior].ravel())
    return np.array(columns).T


def semi_discrete_solution(
    operator: DiffusionOperator, start_state: np.ndarray, source: np.ndarray, time: float
) -> np.ndarray:
    """Return the exact solution of du/dt = A u + s at `time` (s), by the matrix exponential."""
    size = start_state.size
    augmented_matrix = np.zeros((size + 1, size + 1))  # the source is the column of a constant unknown
    augmented_matrix[:size, :size], augmented_matrix[:size, size] = operator_matrix(operator), source.ravel()
    end_state = scipy.linalg.expm(time * augmented_matrix) @ np.append(start_state.ravel(), 1.0)
    return np.asarray(end_state[:size]).reshape(start_state.shape)


@functools.cache
def _shipped_options() -> dict[str, Any]:
    options: dict[str, Any] = yaml.safe_load((Path(configs.__path__[0]) / "solver" / "heat.yaml").read_text())
    return options


def _effective_walls(options: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes without the boundary options that have no effect."""
    dimension = len(changes.get("extent", options["extent"]))
    walls = {name: dict(changes[name]) for name in ("boundary", "boundary_values") if name in changes}
    conditions = options["boundary"] | walls.get("boundary", {})
    for index, direction in enumerate(DIRECTIONS):
        if index >= dimension:
            walls.get("boundary", {}).pop(direction, None)
        if index >= dimension or conditions[direction] == "periodic":
            walls.get("boundary_values", {}).pop(direction, None)
    return changes | walls


def _merge_options(options: Any, changes: Any) -> Any:
    if not isinstance(changes, dict) or not isinstance(options, dict):
        return changes
    return options | {name: _merge_options(options.get(name), value) for name, value in changes.items()}
