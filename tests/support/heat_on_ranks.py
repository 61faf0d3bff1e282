"""Run by mpirun: solves the same heat trajectories on 1, 2, 3, ... ranks and prints the differences.

Rank 0 prints one JSON document: for each case and number of ranks the largest difference from one rank,
relative to the largest value, in the final state, the coefficient fields, the total heat and the supplied
heat.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from mpi4py import MPI

from simsurrogate.errors import UserError
from solvers.contract import DivergedError
from tests.support.heat_cases import heat, prepared

# 2, 3 and 4 ranks share these rows unevenly; with `columns` one rank has no column of coefficients.
GRIDS: dict[str, dict[str, Any]] = {
    "1d": {"extent": [1.0], "resolution": [13]},
    "2d": {"extent": [1.0, 0.8], "resolution": [11, 7]},
    "deep": {"extent": [6.0, 0.8], "resolution": [53, 7]},  # slabs of more rows than a deep halo
    "columns": {"extent": [1.0, 0.8], "resolution": [7, 3]},
    "3d": {"extent": [1.0, 0.8, 1.2], "resolution": [9, 6, 5]},
}
WALLS = [
    {"x": "periodic", "y": "dirichlet", "z": "neumann"},
    {"x": "dirichlet", "y": "neumann", "z": "periodic"},
    {"x": "neumann", "y": "periodic", "z": "dirichlet"},
]
SCHEMES: dict[str, dict[str, Any]] = {
    "exact": {"scheme": "exact", "diffusivity": {"kind": "constant"}},
    "rkl2": {"scheme": "rkl2", "tolerance": 1e-4, "diffusivity": {"modes": 3}},
    "inclusions": {
        "scheme": "rkl2",
        "time_step": 0.004,
        "diffusivity": {"kind": "inclusions", "inclusion_radius": [0.3, 0.4]},
    },
    "euler": {"scheme": "euler", "diffusivity": {"modes": 3}},
    "euler, constant": {
        "scheme": "euler",
        "diffusivity": {"kind": "constant"},
        "heaters": {"count": 0},
        "boundary_values": {direction: [0.0, 0.0] for direction in "xyz"},
    },
}
VALUES = {"x": [1.0, 2.0], "y": [0.5, 0.0], "z": [-0.5, 1.0]}


def solve(communicator: MPI.Intracomm, case: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """Return the results on the whole grid on the communicator's first rank, None on the others."""
    driven = {"boundary_values": VALUES, "heaters": {"count": 2, "width": [0.15, 0.2], "start": [0.0, 0.02]}}
    solver = heat(communicator, **driven | {"initial": {"modes": 2}} | case)
    trajectory = prepared(solver)
    start = trajectory.initial_state
    end = trajectory.advance(start, 0.0, 0.02)
    end = trajectory.advance(end, 0.02, 0.02)
    supplied = trajectory.budget(start, 0.0, 0.04)["total_heat"]
    total_heat = trajectory.invariants(end)["total_heat"]
    blocks = communicator.gather((solver.block, end, trajectory.coefficient_fields))
    if blocks is None:
        return None
    state = np.full((1, *solver.grid.resolution), np.nan)
    coefficients = np.full((len(solver.spec.coefficient_fields), *solver.grid.resolution), np.nan)
    for block, block_state, block_coefficients in blocks:
        state[:, *block], coefficients[:, *block] = block_state, block_coefficients
    return {
        "state": state,
        "coefficients": coefficients,
        "heat": np.array(total_heat),
        "supplied": np.array(supplied),
    }


def all_ranks_diverge(communicator: MPI.Intracomm, case: dict[str, Any]) -> bool:
    """Return whether a NaN on the last rank alone raises a `DivergedError` on every rank."""
    trajectory = prepared(heat(communicator, **case))
    state = trajectory.initial_state.copy()
    if communicator.rank == communicator.size - 1:
        state[0].flat[0] = np.nan
    try:
        trajectory.advance(state, 0.0, 0.01)
    except DivergedError:
        return bool(communicator.allreduce(True, MPI.LAND))
    return bool(communicator.allreduce(False, MPI.LAND))


def refusal(communicator: MPI.Intracomm, **changes: Any) -> str:
    """Return the message of the `UserError` that these options raise, or nothing."""
    try:
        heat(communicator, **changes)
    except UserError as user_error:
        return str(user_error)
    return ""


def differences(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the largest difference of each quantity, relative to its largest value or 1."""
    return {
        quantity: float(
            np.max(np.abs(actual[quantity] - values), initial=0.0) / np.max(np.abs(values), initial=1.0)
        )
        for quantity, values in expected.items()
    }


def main() -> None:
    """Compare all numbers of ranks up to that of the world with one rank."""
    world = MPI.COMM_WORLD
    # Each scheme is combined with each kind of wall on the first axis, on one of the grids.
    cases = {
        f"{grid} {scheme}": GRIDS[grid] | SCHEMES[scheme] | {"boundary": WALLS[(i + j) % len(WALLS)]}
        for i, grid in enumerate(GRIDS)
        for j, scheme in enumerate(SCHEMES)
    }
    references = {name: solve(MPI.COMM_SELF, case) for name, case in cases.items()} if world.rank == 0 else {}
    table: dict[str, dict[str, float]] = {}
    for size in range(2, world.size + 1):
        communicator = world.Split(0 if world.rank < size else MPI.UNDEFINED, world.rank)
        if communicator == MPI.COMM_NULL:
            continue
        for name, case in cases.items():
            results, reference = solve(communicator, case), references.get(name)
            if results is not None and reference is not None:
                table[f"{name} on {size}"] = differences(results, reference)
        communicator.Free()
    report = {
        "differences": table,
        "diverged": {name: all_ranks_diverge(world, GRIDS["2d"] | SCHEMES[name]) for name in SCHEMES},
        "too_many_ranks": refusal(world, resolution=world.size - 1),
        "adi": refusal(world, scheme="adi"),
        "automatic": heat(world).method,
    }
    if world.rank == 0:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
