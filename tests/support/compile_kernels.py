"""Compilation of all kernels into the cache on disk: `python -m tests.support.compile_kernels`."""

from __future__ import annotations

from mpi4py import MPI

from tests.support import rank_cases, solve_on_ranks
from tests.support.solver_cases import all_cases, build_shipped


def main() -> None:
    """Solve a short trajectory of each case of the solvers' tests on one rank."""
    solvers = [case.build() for case in all_cases()]
    for name in ("heat", "nbody"):
        solvers += [build_shipped(name, **changes) for changes in rank_cases.shared_cases(name).values()]
    for solver in solvers:
        solver.time_scale /= 100
        solve_on_ranks.solve(MPI.COMM_SELF, solver)


if __name__ == "__main__":
    main()
