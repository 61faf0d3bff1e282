"""The rate of explicit heat steps on one core, compared with py-pde and Devito for equal schemes."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pde
from mpi4py import MPI

from benchmarks.support import heat_peers
from benchmarks.support.heat_peers import Run
from benchmarks.support.measuring import medians, print_and_store
from solvers.heat.operator import DiffusionOperator, wall_terms
from solvers.heat.schemes.explicit import ForwardEuler
from solvers.numerics.grid import Grid

DIFFUSIVITY = 0.2


def main() -> None:
    """Print and store the cell updates per second of all codes, for data inside and outside the caches."""
    numba.set_num_threads(1)
    print_and_store(
        "heat_explicit",
        "Explicit heat step in 2-D, periodic, constant diffusivity, float64",
        [_compare(512, 240), _compare(2048, 48)],
        ["py-pde", "devito", "numba"],
    )


def _compare(cells: int, num_steps: int) -> dict[str, object]:
    initial = np.random.default_rng(0).standard_normal((cells, cells))
    step = 0.2 / cells**2 / DIFFUSIVITY
    mesh_ratio = DIFFUSIVITY * step * cells**2

    def update(u: Any, t: Any, x: Any, y: Any) -> Any:
        neighbour_sum = u[t, x - 1, y] + u[t, x + 1, y] + u[t, x, y - 1] + u[t, x, y + 1]
        return u[t, x, y] + mesh_ratio * (neighbour_sum - 4 * u[t, x, y])

    equation = pde.DiffusionPDE(DIFFUSIVITY)
    runs = {
        "py-pde, numba": heat_peers.build_py_pde_run(equation, "numba", initial, step, num_steps),
        "py-pde, numpy": heat_peers.build_py_pde_run(equation, "numpy", initial, step, num_steps),
        "Devito": heat_peers.build_devito_run(update, initial, num_steps),
        "ours": _build_our_run(initial, step, num_steps),
    }
    our_state = runs["ours"]()
    difference = max(float(np.abs(run() - our_state).max()) for run in runs.values())
    if difference > 1e-12:
        raise SystemExit(f"the results differ by {difference} at {cells}^2 cells; at most 1e-12 is allowed")
    seconds = medians(runs, rounds=5)
    row: dict[str, object] = {"cells": f"{cells}^2"}
    row |= {
        f"{name}, million updates/s": num_steps * cells**2 / 1e6 / value for name, value in seconds.items()
    }
    row["ours / best of py-pde"] = min(seconds["py-pde, numba"], seconds["py-pde, numpy"]) / seconds["ours"]
    row["ours / Devito"] = seconds["Devito"] / seconds["ours"]
    row["largest difference"] = difference
    return row


def _build_our_run(initial: np.ndarray, step: float, num_steps: int) -> Run:
    grid = Grid(MPI.COMM_SELF, (1.0, 1.0), initial.shape, ("periodic", "periodic"))
    walls = wall_terms(grid, ((0.0, 0.0),) * 2, DIFFUSIVITY)
    scheme = ForwardEuler(DiffusionOperator(grid, DIFFUSIVITY), walls, step * (1 + 1e-9))
    return lambda: scheme.advance(initial, None, num_steps * step)


if __name__ == "__main__":
    main()
