"""Run by mpirun: solves the same flows on 1, 2, 3, ... ranks and prints how far they differ.

Rank 0 prints one JSON: for each case and number of ranks the largest difference from one rank, over the
largest value, in the final state, the coefficient fields, the invariants and the counts of steps.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from mpi4py import MPI

from solvers.contract import DivergedError
from tests.support.navier_stokes_cases import LIVELY, TRACER, UNFORCED, flow, sampled

RING = {"kind": "ring", "injection_rate": [0.05, 0.05], "ring": [10.0, 30.0], "renewal": 0.04}
# Rows and kept columns that 2, 3 and 4 ranks share unevenly; FFTW and ducc0; a rank without a column.
CASES: dict[str, dict[str, Any]] = {
    "random field, tracer": LIVELY | UNFORCED,
    "ring": LIVELY | {"forcing": RING, "tracer": {"present": False}},
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
    """The results on the whole grid, on the communicator's first rank."""
    solver = flow(communicator, **case)
    parameters = sampled(solver)
    trajectory = solver.prepare(parameters)
    *_, state = trajectory.solve(np.array([0.0, 0.05, 0.1]))
    invariants = trajectory.invariants(state)
    blocks = communicator.gather((solver.block, state, trajectory.coefficient_fields))
    if blocks is None:
        return None
    whole = np.full((len(state), *solver.grid.resolution), np.nan)
    coefficients = np.full((len(solver.spec.coefficient_fields), *solver.grid.resolution), np.nan)
    for block, part, fields in blocks:
        whole[:, *block], coefficients[:, *block] = part, fields
    return {
        "state": whole,
        "coefficients": coefficients,
        **{name: np.array(value) for name, value in invariants.items() if name != "tracer_mean"},
        "counts": np.array(list(trajectory.counts.values())),
    }


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest one, over the largest value."""
    if not expected.size:
        return 0.0
    return float(np.max(np.abs(found - expected)) / max(np.max(np.abs(expected)), 1e-300))


def all_ranks_diverge(communicator: MPI.Intracomm) -> bool:
    """Whether a NaN in the vorticity of the last rank alone is a `DivergedError` on every rank."""
    solver = flow(communicator, **LIVELY)
    parameters = sampled(solver)
    state = solver.prepare(parameters).initial_state
    if communicator.rank == communicator.size - 1:
        state[0].flat[0] = np.nan
    try:
        solver.prepare(parameters).advance(state, 0.0, 0.01)
    except DivergedError:
        return bool(communicator.allreduce(True, MPI.LAND))
    return bool(communicator.allreduce(False, MPI.LAND))


def main() -> None:
    """Compares, on every number of ranks up to that of the world."""
    world = MPI.COMM_WORLD
    differences: dict[str, dict[str, float]] = {}
    references = {name: solve(MPI.COMM_SELF, case) for name, case in CASES.items()} if world.rank == 0 else {}
    for size in range(2, world.size + 1):
        part = world.Split(0 if world.rank < size else MPI.UNDEFINED, world.rank)
        if part == MPI.COMM_NULL:
            continue
        for name, case in CASES.items():
            found, reference = solve(part, case), references.get(name)
            if found is not None and reference is not None:
                differences[f"{name} on {size}"] = {
                    quantity: difference(found[quantity], value) for quantity, value in reference.items()
                }
        part.Free()
    diverged = all_ranks_diverge(world)
    if world.rank == 0:
        print(json.dumps({"differences": differences, "diverged": diverged}))


if __name__ == "__main__":
    main()
