"""Explicit time steps of the heat equation by py-pde and Devito on a periodic unit square."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pde

Run = Callable[[], np.ndarray]


def build_py_pde_run(
    equation: pde.PDEBase, backend: str, initial: np.ndarray, step: float, num_steps: int
) -> Run:
    """Return a run of py-pde with Euler steps of `step` (s), compiled before the run."""
    field = pde.ScalarField(unit_square_grid(initial), initial)
    stepper = pde.EulerSolver(equation, backend=backend).make_stepper(field.copy(), dt=step)

    def run() -> np.ndarray:
        state = field.copy()
        result = stepper(state, 0.0, num_steps * step)
        return np.asarray((result if isinstance(result, pde.ScalarField) else state).data)

    return run


def unit_square_grid(values: np.ndarray) -> pde.CartesianGrid:
    """Return the py-pde grid for an array of cells."""
    return pde.CartesianGrid([[0, 1], [0, 1]], values.shape, periodic=True)


def build_devito_run(
    update: Callable[..., Any], initial: np.ndarray, num_steps: int, **fields: np.ndarray
) -> Run:
    """Return a run of Devito with the time steps u[t + 1] = `update(u, t, x, y, **fields)`.

    `update` returns an expression of Devito symbols. `fields` are constant periodic arrays.
    """
    # Devito reads the compiler options and detects an initialised MPI at import.
    os.environ |= {"OMP_NUM_THREADS": "1", "DEVITO_LANGUAGE": "C", "DEVITO_LOGGING": "ERROR"}
    import devito

    rows, columns = initial.shape
    grid = devito.Grid(shape=initial.shape, dtype=np.float64)
    u = devito.TimeFunction(name="u", grid=grid, space_order=2)
    symbols = {name: devito.Function(name=name, grid=grid, space_order=2) for name in fields}
    (x, y), t = grid.dimensions, grid.stepping_dim
    for name, values in fields.items():
        symbols[name].data_with_halo[...] = _pad_periodic(values, symbols[name].data_with_halo.shape[0])
    boundary_equations = [
        devito.Eq(u[t + 1, -1, y], u[t + 1, rows - 1, y]),
        devito.Eq(u[t + 1, rows, y], u[t + 1, 0, y]),
        devito.Eq(u[t + 1, x, -1], u[t + 1, x, columns - 1]),
        devito.Eq(u[t + 1, x, columns], u[t + 1, x, 0]),
    ]
    operator = devito.Operator(
        [devito.Eq(u[t + 1, x, y], update(u, t, x, y, **symbols)), *boundary_equations]
    )
    padded = _pad_periodic(initial, u.data_with_halo.shape[1])

    def run() -> np.ndarray:
        u.data_with_halo[0] = padded
        operator.apply(time_m=0, time_M=num_steps - 1)
        return np.array(u.data[num_steps % 2])

    return run


def _pad_periodic(values: np.ndarray, rows: int) -> np.ndarray:
    """Return the values with periodic padding to `rows` rows."""
    return np.pad(values, (rows - values.shape[0]) // 2, mode="wrap")
