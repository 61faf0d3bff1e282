"""Explicit heat steps with k(x) and a source against Devito's and py-pde's, and against the memory's speed.

One sweep has to move five numbers a cell: it reads u, the source and the conductances of two faces, and
writes u. At the speed of a triad (a = b + s c, 24 bytes counted), measured in the same run, that is the bound
for a code that makes one step in each pass over memory; several steps in one pass go beyond it.

py-pde has no conductances on faces. What it computes is the same with arithmetic means of k in place of
harmonic ones, which differ by the square of the spacing; both differences are printed.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import pde
from mpi4py import MPI

from benchmarks.measuring import keep
from solvers import heat_operator
from solvers.compiled import compiled
from solvers.grid import Grid
from solvers.heat_explicit import ForwardEuler
from solvers.heat_operator import DiffusionOperator, walls

BYTES = 5 * 8
TRIAD_CELLS = 2400**2
ROUNDS = 3
#: py-pde is slow: it makes fewer steps.
PY_PDE_STEPS = 4
Run = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Problem:
    """u (K) at the start, k (m^2/s) and the source (K/s) on the cells, and the step (s)."""

    initial: np.ndarray
    k: np.ndarray
    source: np.ndarray
    step: float


def main() -> None:
    """Prints and keeps cell updates a second of all, in the caches and beyond them."""
    numba.set_num_threads(1)
    keep(
        "heat_variable",
        "Explicit heat step in 2-D with k(x) and a source, periodic, float64, one core",
        [_compare(512, 120), _compare(2048, 24)],
        ["py-pde", "devito", "numba"],
    )


def _compare(cells: int, num_steps: int) -> dict[str, object]:
    x = (np.arange(cells) + 0.5) / cells
    k = np.exp(0.5 * np.sin(2 * np.pi * (x[:, None] + 2 * x)))
    source = 10 * np.cos(2 * np.pi * x[:, None]) + 0 * x
    initial = np.random.default_rng(0).standard_normal((cells, cells))
    problem = Problem(initial, k, source, 0.2 / cells**2 / float(k.max()))
    runs = {
        "py-pde": _py_pde(problem, PY_PDE_STEPS),
        "Devito": _devito(problem, num_steps),
        "ours, single sweeps": _ours(problem, num_steps, deepest=1),
        "ours": _ours(problem, num_steps),
    }
    few, many = _ours(problem, PY_PDE_STEPS)(), runs["ours"]()
    differences = {name: _difference(runs[name](), many) for name in ("Devito", "ours, single sweeps")}
    differences["py-pde"] = _difference(runs["py-pde"](), few)
    if any(value > (1e-4 if name == "py-pde" else 1e-12) for name, value in differences.items()):
        raise SystemExit(f"the codes differ at {cells} cells: {differences}; nothing is compared")
    seconds = _medians(runs | {"triad": _triad()})
    bandwidth = 24 * TRIAD_CELLS / seconds.pop("triad")
    steps = {name: PY_PDE_STEPS if name == "py-pde" else num_steps for name in runs}
    updates = {name: steps[name] * cells**2 / 1e6 / value for name, value in seconds.items()}
    bound = bandwidth / BYTES / 1e6
    row: dict[str, object] = {"cells": f"{cells}^2", "triad, GB/s": bandwidth / 1e9}
    row["bound of one sweep, million updates/s"] = bound
    row |= {f"{name}, million updates/s": updates[name] for name in seconds}
    row["ours / bound"] = updates["ours"] / bound
    row["ours / Devito"] = updates["ours"] / updates["Devito"]
    row["ours / py-pde"] = updates["ours"] / updates["py-pde"]
    row["Devito - ours"] = differences["Devito"]
    row["py-pde - ours"] = differences["py-pde"]
    return row


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.std(expected))


def _medians(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median seconds of each run, in turn; before each time is taken it runs once to have its memory."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            run()
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _ours(problem: Problem, num_steps: int, deepest: int = heat_operator._DEEPEST) -> Run:
    grid = Grid(MPI.COMM_SELF, (1.0, 1.0), problem.initial.shape, ("periodic", "periodic"))
    usual, heat_operator._DEEPEST = heat_operator._DEEPEST, deepest
    operator = DiffusionOperator(grid, problem.k)
    heat_operator._DEEPEST = usual
    at_walls = walls(grid, ((0.0, 0.0),) * 2, problem.k)
    scheme = ForwardEuler(operator, at_walls, problem.step * (1 + 1e-9))
    return lambda: scheme.advance(problem.initial, problem.source, num_steps * problem.step)


def _triad() -> Callable[[], None]:
    a, b, c = (np.ones(TRIAD_CELLS) for _ in range(3))
    return lambda: _triad_kernel(a, b, c, 1e-3)


@compiled()
def _triad_kernel(a, b, c, scale):  # type: ignore[no-untyped-def]
    for i in range(a.size):
        a[i] = b[i] + scale * c[i]


def _py_pde(problem: Problem, num_steps: int) -> Run:
    grid = pde.CartesianGrid([[0, 1], [0, 1]], problem.initial.shape, periodic=True)
    field, conductivity = pde.ScalarField(grid, problem.initial), pde.ScalarField(grid, problem.k)
    # The sum over faces of (k_i + k_n) / 2 (u_n - u_i), written with the sums over neighbours that it has.
    equation = pde.PDE(
        {"u": "(laplace(k * u) + k * laplace(u) - u * laplace_k) / 2 + f"},
        consts={
            "k": conductivity,
            "laplace_k": conductivity.laplace("auto_periodic_neumann"),
            "f": pde.ScalarField(grid, problem.source),
        },
    )
    stepper = pde.EulerSolver(equation, backend="numba").make_stepper(field.copy(), dt=problem.step)

    def run() -> np.ndarray:
        state = field.copy()
        found = stepper(state, 0.0, num_steps * problem.step)
        return np.asarray((found if isinstance(found, pde.ScalarField) else state).data)

    return run


def _devito(problem: Problem, num_steps: int) -> Run:
    # Both when it is imported: the compiler's options, and its leave to find MPI initialised.
    os.environ |= {"OMP_NUM_THREADS": "1", "DEVITO_LANGUAGE": "C", "DEVITO_LOGGING": "ERROR"}
    import devito

    rows, columns = problem.initial.shape
    grid = devito.Grid(shape=problem.initial.shape, dtype=np.float64)
    u = devito.TimeFunction(name="u", grid=grid, space_order=2)
    f, c0, c1 = (devito.Function(name=name, grid=grid, space_order=2) for name in ("f", "c0", "c1"))
    (x, y), t = grid.dimensions, grid.stepping_dim
    flux = c0[x + 1, y] * (u[t, x + 1, y] - u[t, x, y]) - c0[x, y] * (u[t, x, y] - u[t, x - 1, y])
    flux += c1[x, y + 1] * (u[t, x, y + 1] - u[t, x, y]) - c1[x, y] * (u[t, x, y] - u[t, x, y - 1])
    update = devito.Eq(u[t + 1, x, y], u[t, x, y] + flux + f[x, y])
    ends = [
        devito.Eq(u[t + 1, -1, y], u[t + 1, rows - 1, y]),
        devito.Eq(u[t + 1, rows, y], u[t + 1, 0, y]),
        devito.Eq(u[t + 1, x, -1], u[t + 1, x, columns - 1]),
        devito.Eq(u[t + 1, x, columns], u[t + 1, x, 0]),
    ]
    operator = devito.Operator([update, *ends])
    f.data[:] = problem.step * problem.source
    for axis, c in enumerate((c0, c1)):
        below = np.roll(problem.k, 1, axis)
        halo = (c.data_with_halo.shape[0] - rows) // 2
        face = problem.step * rows**2 * 2 * problem.k * below / (problem.k + below)
        c.data_with_halo[...] = np.pad(face, halo, mode="wrap")
    padded = np.pad(problem.initial, (u.data_with_halo.shape[1] - rows) // 2, mode="wrap")

    def run() -> np.ndarray:
        u.data_with_halo[0] = padded
        operator.apply(time_m=0, time_M=num_steps - 1)
        return np.array(u.data[num_steps % 2])

    return run


if __name__ == "__main__":
    main()
