"""A program for mpirun that solves the same flows on 1, 2, 3, ... ranks and prints the differences.

Rank 0 prints one JSON document: for each case and number of ranks the largest difference from one rank, over
the largest value, in the final state, the coefficient fields, the invariants and the counts of steps.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from mpi4py import MPI

from solvers.contract import DivergedError
from tests.support.navier_stokes_cases import LIVELY, TRACER, UNFORCED, flow, sampled

RING = {"kind": "ring", "injection_rate": [0.05, 0.05], "ring": [10.0, 30.0], "renewal": 0.04}
# 2, 3 and 4 ranks share rows and kept columns unevenly; FFTW and ducc0 both occur; one rank has no column.
CASES: dict[str, dict[str, Any]] = {
    "random field, tracer": LIVELY | UNFORCED,
    "ring": {name: value for name, value in LIVELY.items() if name != "tracer"} | {"forcing": RING},
    "ring, long axis": LIVELY | {"forcing": RING, "resolution": [46, 130]},
    "diagonal, declared step": LIVELY | {"forcing": {"kind": "diagonal"}, "time_step": 0.01},
    "kolmogorov, vortices": {
        "resolution": [70, 34],
        "forcing": {"kind": "kolmogorov"},
        "initial": {"kind": "vortices", "radius": [0.06, 0.1]},
    },
    "shear layers": {"resolution": [38, 64], "initial": {"kind": "shear_layers"}} | TRACER,
    "taylor-green": {
        "resolution": [14, 8],
        "viscosity": [5e-3, 5e-3],
        "initial": {"kind": "taylor_green"},
        **UNFORCED,
    },
    "matern": {"resolution": [34, 34]},
}


def solve(communicator: MPI.Intracomm, case: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """Return the results on the whole grid on the communicator's first rank, and None on the others."""
    solver = flow(communicator, **case)
    trajectory = solver.prepare(sampled(solver))
    *_, state = trajectory.solve(np.array([0.0, 0.05, 0.1]))
    invariants = trajectory.invariants(state)
    blocks = communicator.gather((solver.block, state, trajectory.coefficient_fields))
    if blocks is None:
        return None
    whole_state = np.full((len(state), *solver.grid.resolution), np.nan)
    coefficient_fields = np.full((len(solver.spec.coefficient_fields), *solver.grid.resolution), np.nan)
    for block, state_block, fields_block in blocks:
        whole_state[:, *block], coefficient_fields[:, *block] = state_block, fields_block
    return {
        "state": whole_state,
        "coefficient_fields": coefficient_fields,
        **{name: np.array(value) for name, value in invariants.items() if name != "tracer_mean"},
        "counts": np.array(list(trajectory.counts.values())),
    }


def difference(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference over the largest value."""
    if not reference.size:
        return 0.0
    return float(np.max(np.abs(values - reference)) / max(np.max(np.abs(reference)), 1e-300))


def all_ranks_diverge(communicator: MPI.Intracomm) -> bool:
    """Return whether a NaN in the vorticity of the last rank alone is a `DivergedError` on every rank."""
    solver = flow(communicator, **LIVELY)
    trajectory = solver.prepare(sampled(solver))
    state = trajectory.initial_state.copy()
    if communicator.rank == communicator.size - 1:
        state[0].flat[0] = np.nan
    try:
        trajectory.advance(state, 0.0, 0.01)
    except DivergedError:
        return bool(communicator.allreduce(True, MPI.LAND))
    return bool(communicator.allreduce(False, MPI.LAND))


def main() -> None:
    """Print the differences between 1 rank and every larger number of ranks."""
    world = MPI.COMM_WORLD
    differences: dict[str, dict[str, float]] = {}
    references = {name: solve(MPI.COMM_SELF, case) for name, case in CASES.items()} if world.rank == 0 else {}
    for size in range(2, world.size + 1):
        group = world.Split(0 if world.rank < size else MPI.UNDEFINED, world.rank)
        if group == MPI.COMM_NULL:
            continue
        for name, case in CASES.items():
            results, reference = solve(group, case), references.get(name)
            if results is not None and reference is not None:
                differences[f"{name} on {size}"] = {
                    quantity: difference(results[quantity], value) for quantity, value in reference.items()
                }
        group.Free()
    diverged = all_ranks_diverge(world)
    if world.rank == 0:
        print(json.dumps({"differences": differences, "diverged": diverged}))


if __name__ == "__main__":
    main()
