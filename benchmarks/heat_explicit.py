"""Explicit heat steps against py-pde's and Devito's: one scheme, grid and step, on one core, to round-off."""

from __future__ import annotations

import os
from collections.abc import Callable

import numba
import numpy as np
import pde
from mpi4py import MPI

from benchmarks.measuring import keep, medians
from solvers.grid import Grid
from solvers.heat_explicit import ForwardEuler
from solvers.heat_operator import DiffusionOperator, walls

DIFFUSIVITY = 0.2
Run = Callable[[], np.ndarray]


def main() -> None:
    """Prints and keeps cell updates a second of all, in the caches and beyond them."""
    numba.set_num_threads(1)
    keep(
        "heat_explicit",
        "Explicit heat step in 2-D, periodic, constant diffusivity, float64",
        [_compare(512, 240), _compare(2048, 48)],
        ["py-pde", "devito", "numba"],
    )


def _compare(cells: int, num_steps: int) -> dict[str, object]:
    initial = np.random.default_rng(0).standard_normal((cells, cells))
    step = 0.2 / cells**2 / DIFFUSIVITY
    runs = {
        "py-pde, numba": _py_pde("numba", initial, step, num_steps),
        "py-pde, numpy": _py_pde("numpy", initial, step, num_steps),
        "Devito": _devito(initial, step, num_steps),
        "ours": _ours(initial, step, num_steps),
    }
    expected = runs["ours"]()
    difference = max(float(np.abs(run() - expected).max()) for run in runs.values())
    if difference > 1e-12:
        raise SystemExit(f"the codes differ by {difference} at {cells} cells: nothing is compared")
    seconds = medians(runs, rounds=5)
    row: dict[str, object] = {"cells": f"{cells}^2"}
    row |= {
        f"{name}, million updates/s": num_steps * cells**2 / 1e6 / value for name, value in seconds.items()
    }
    row["ours / best of py-pde"] = min(seconds["py-pde, numba"], seconds["py-pde, numpy"]) / seconds["ours"]
    row["ours / Devito"] = seconds["Devito"] / seconds["ours"]
    row["largest difference"] = difference
    return row


def _ours(initial: np.ndarray, step: float, num_steps: int) -> Run:
    grid = Grid(MPI.COMM_SELF, (1.0, 1.0), initial.shape, ("periodic", "periodic"))
    at_walls = walls(grid, ((0.0, 0.0),) * 2, DIFFUSIVITY)
    scheme = ForwardEuler(DiffusionOperator(grid, DIFFUSIVITY), at_walls, step * (1 + 1e-9))
    return lambda: scheme.advance(initial, None, num_steps * step)


def _py_pde(backend: str, initial: np.ndarray, step: float, num_steps: int) -> Run:
    grid = pde.CartesianGrid([[0, 1], [0, 1]], initial.shape, periodic=True)
    field = pde.ScalarField(grid, initial)
    solver = pde.EulerSolver(pde.DiffusionPDE(DIFFUSIVITY), backend=backend)
    # Compiled once, as a long run would have it: only the steps are timed.
    stepper = solver.make_stepper(field.copy(), dt=step)

    def run() -> np.ndarray:
        state = field.copy()
        found = stepper(state, 0.0, num_steps * step)
        return np.asarray((found if isinstance(found, pde.ScalarField) else state).data)

    return run


def _devito(initial: np.ndarray, step: float, num_steps: int) -> Run:
    # Both when it is imported: the compiler's options, and its leave to find MPI initialised.
    os.environ |= {"OMP_NUM_THREADS": "1", "DEVITO_LANGUAGE": "C", "DEVITO_LOGGING": "ERROR"}
    import devito

    rows, columns = initial.shape
    grid = devito.Grid(shape=initial.shape, dtype=np.float64)
    u = devito.TimeFunction(name="u", grid=grid, space_order=2)
    (x, y), t = grid.dimensions, grid.stepping_dim
    share = DIFFUSIVITY * step * rows**2
    around = u[t, x - 1, y] + u[t, x + 1, y] + u[t, x, y - 1] + u[t, x, y + 1]
    update = devito.Eq(u[t + 1, x, y], u[t, x, y] + share * (around - 4 * u[t, x, y]))
    ends = [
        devito.Eq(u[t + 1, -1, y], u[t + 1, rows - 1, y]),
        devito.Eq(u[t + 1, rows, y], u[t + 1, 0, y]),
        devito.Eq(u[t + 1, x, -1], u[t + 1, x, columns - 1]),
        devito.Eq(u[t + 1, x, columns], u[t + 1, x, 0]),
    ]
    operator = devito.Operator([update, *ends])
    halo = (u.data_with_halo.shape[1] - rows) // 2
    padded = np.pad(initial, halo, mode="wrap")

    def run() -> np.ndarray:
        u.data_with_halo[0] = padded
        operator.apply(time_m=0, time_M=num_steps - 1)
        return np.array(u.data[num_steps % 2])

    return run


if __name__ == "__main__":
    main()
