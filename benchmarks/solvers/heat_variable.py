"""The rate of explicit heat steps with k(x) and a source, compared with peers and the memory bandwidth.

One sweep moves five numbers per cell: the sweep reads u, the source and the conductances of two faces, and
writes u. The bandwidth of a triad (a = b + s c, 24 bytes) in the same run bounds the rate of one step in each
pass over memory. A code with several steps in one pass can exceed this bound.

py-pde uses arithmetic means of k instead of harmonic means on faces. Both means differ by a term of second
order in the spacing, and the benchmark prints the difference of the results.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import pde
from mpi4py import MPI

from benchmarks.support import heat_peers
from benchmarks.support.heat_peers import Run
from benchmarks.support.measuring import print_and_store
from solvers.heat import operator as operator_module
from solvers.heat.operator import DiffusionOperator, wall_terms
from solvers.heat.schemes.explicit import ForwardEuler
from solvers.numerics.grid import Grid
from solvers.numerics.numba_cache import compiled

#: The bytes per cell that one sweep moves.
BYTES_PER_CELL = 5 * 8
TRIAD_CELLS = 2400**2
ROUNDS = 3
#: The number of steps of py-pde, small because py-pde is slow.
PY_PDE_STEPS = 4


@dataclass(frozen=True)
class Problem:
    """The initial u (K), k (m^2/s) and the source (K/s) on the cells, and the step (s)."""

    initial: np.ndarray
    k: np.ndarray
    source: np.ndarray
    step: float


def main() -> None:
    """Print and store the cell updates per second of all codes, for data inside and outside the caches."""
    numba.set_num_threads(1)
    print_and_store(
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
        "py-pde": _build_py_pde_run(problem, PY_PDE_STEPS),
        "Devito": _build_devito_run(problem, num_steps),
        "ours, single sweeps": _build_our_run(problem, num_steps, max_levels=1),
        "ours": _build_our_run(problem, num_steps),
    }
    our_short_run, our_state = _build_our_run(problem, PY_PDE_STEPS)(), runs["ours"]()
    differences = {name: _difference(runs[name](), our_state) for name in ("Devito", "ours, single sweeps")}
    differences["py-pde"] = _difference(runs["py-pde"](), our_short_run)
    if any(value > (1e-4 if name == "py-pde" else 1e-12) for name, value in differences.items()):
        raise SystemExit(
            f"the results differ at {cells}^2 cells: {differences}; at most 1e-12, and 1e-4 for py-pde, is "
            "allowed"
        )
    seconds = _medians(runs | {"triad": _build_triad_run()})
    bandwidth = 24 * TRIAD_CELLS / seconds.pop("triad")
    steps = {name: PY_PDE_STEPS if name == "py-pde" else num_steps for name in runs}
    updates = {name: steps[name] * cells**2 / 1e6 / value for name, value in seconds.items()}
    bound = bandwidth / BYTES_PER_CELL / 1e6
    row: dict[str, object] = {"cells": f"{cells}^2", "triad, GB/s": bandwidth / 1e9}
    row["bound of one sweep, million updates/s"] = bound
    row |= {f"{name}, million updates/s": updates[name] for name in seconds}
    row["ours / bound"] = updates["ours"] / bound
    row["ours / Devito"] = updates["ours"] / updates["Devito"]
    row["ours / py-pde"] = updates["ours"] / updates["py-pde"]
    row["Devito - ours"] = differences["Devito"]
    row["py-pde - ours"] = differences["py-pde"]
    return row


def _difference(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.std(expected))


def _medians(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median time (s) of each run; runs alternate, and an untimed run precedes each timed run."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            run()
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _build_our_run(problem: Problem, num_steps: int, max_levels: int = operator_module.MAX_LEVELS) -> Run:
    grid = Grid(MPI.COMM_SELF, (1.0, 1.0), problem.initial.shape, ("periodic", "periodic"))
    default_levels, operator_module.MAX_LEVELS = operator_module.MAX_LEVELS, max_levels
    operator = DiffusionOperator(grid, problem.k)
    operator_module.MAX_LEVELS = default_levels
    walls = wall_terms(grid, ((0.0, 0.0),) * 2, problem.k)
    scheme = ForwardEuler(operator, walls, problem.step * (1 + 1e-9))
    return lambda: scheme.advance(problem.initial, problem.source, num_steps * problem.step)


def _build_triad_run() -> Callable[[], None]:
    a, b, c = (np.ones(TRIAD_CELLS) for _ in range(3))
    return lambda: _triad_kernel(a, b, c, 1e-3)


@compiled()
def _triad_kernel(a, b, c, scale):  # type: ignore[no-untyped-def]
    for i in range(a.size):
        a[i] = b[i] + scale * c[i]


def _build_py_pde_run(problem: Problem, num_steps: int) -> Run:
    grid = heat_peers.unit_square_grid(problem.initial)
    conductivity = pde.ScalarField(grid, problem.k)
    # The equation is the sum over faces of (k_i + k_n) / 2 (u_n - u_i), in terms of py-pde operators.
    equation = pde.PDE(
        {"u": "(laplace(k * u) + k * laplace(u) - u * laplace_k) / 2 + f"},
        consts={
            "k": conductivity,
            "laplace_k": conductivity.laplace("auto_periodic_neumann"),
            "f": pde.ScalarField(grid, problem.source),
        },
    )
    return heat_peers.build_py_pde_run(equation, "numba", problem.initial, problem.step, num_steps)


def _build_devito_run(problem: Problem, num_steps: int) -> Run:
    def update(u: Any, t: Any, x: Any, y: Any, *, f: Any, c0: Any, c1: Any) -> Any:
        flux = c0[x + 1, y] * (u[t, x + 1, y] - u[t, x, y]) - c0[x, y] * (u[t, x, y] - u[t, x - 1, y])
        flux += c1[x, y + 1] * (u[t, x, y + 1] - u[t, x, y]) - c1[x, y] * (u[t, x, y] - u[t, x, y - 1])
        return u[t, x, y] + flux + f[x, y]

    mesh_ratio = problem.step * problem.k.shape[0] ** 2
    neighbours = [np.roll(problem.k, 1, axis) for axis in range(2)]
    c0, c1 = (mesh_ratio * 2 * problem.k * k / (problem.k + k) for k in neighbours)
    return heat_peers.build_devito_run(
        update, problem.initial, num_steps, f=problem.step * problem.source, c0=c0, c1=c1
    )


if __name__ == "__main__":
    main()
