"""Run by mpirun: solves the same trajectories on 1, 2, 3, ... ranks and prints how far they differ.

Rank 0 prints one JSON: for each case and number of ranks the largest difference from one rank, over the
largest value, in the final state, the coefficient fields, the total heat and the heat supplied.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from mpi4py import MPI

from solvers.contract import DivergedError
from tests.support.heat_cases import heat, sampled

# Rows that 2, 3 and 4 ranks share unevenly; `columns` leaves a rank without a column of coefficients.
GRIDS: dict[str, dict[str, Any]] = {
    "1d": {"extent": [1.0], "resolution": [13]},
    "2d": {"extent": [1.0, 0.8], "resolution": [11, 7]},
    "deep": {"extent": [6.0, 0.8], "resolution": [53, 7]},  # slabs of more rows than a deep halo has
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
    "rkl2": {"scheme": "rkl2", "diffusivity": {"modes": 3}},
    "inclusions": {
        "scheme": "rkl2",
        "time_step": 0.01,
        "diffusivity": {"kind": "inclusions", "inclusion_radius": [0.3, 0.4]},
    },
    "euler": {"scheme": "euler", "diffusivity": {"modes": 3}},
    "euler, constant": {
        "scheme": "euler",
        "diffusivity": {"kind": "constant"},
        "heaters": {"count": 0},
        "boundary_values": {name: [0.0, 0.0] for name in "xyz"},
    },
}
VALUES = {"x": [1.0, 2.0], "y": [0.5, 0.0], "z": [-0.5, 1.0]}


def solve(communicator: MPI.Intracomm, case: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """The results on the whole grid, on the communicator's first rank."""
    driven = {"boundary_values": VALUES, "heaters": {"count": 2, "width": [0.15, 0.2]}}
    solver = heat(communicator, **driven | {"initial": {"modes": 2}} | case)
    parameters = sampled(solver)
    start = solver.initial_state(parameters)
    end = solver.advance(start, parameters, 0.0, 0.05)
    end = solver.advance(end, parameters, 0.05, 0.05)
    supplied = solver.heat_supplied(start, parameters, 0.0, 0.1)
    heat_now = solver.invariants(end, parameters)["total_heat"]
    blocks = communicator.gather((solver.block, end, solver.coefficients(parameters)))
    if blocks is None:
        return None
    whole = np.full((1, *solver.grid.resolution), np.nan)
    coefficients = np.full((len(solver.spec.coefficients), *solver.grid.resolution), np.nan)
    for block, state, fields in blocks:
        whole[:, *block], coefficients[:, *block] = state, fields
    return {
        "state": whole,
        "coefficients": coefficients,
        "heat": np.array(heat_now),
        "supplied": np.array(supplied),
    }


def all_ranks_diverge(communicator: MPI.Intracomm, case: dict[str, Any]) -> bool:
    """Whether a NaN on the last rank alone is a `DivergedError` on every rank."""
    solver = heat(communicator, **case)
    parameters = sampled(solver)
    state = solver.initial_state(parameters)
    if communicator.rank == communicator.size - 1:
        state[0].flat[0] = np.nan
    try:
        solver.advance(state, parameters, 0.0, 0.01)
    except DivergedError:
        return bool(communicator.allreduce(True, MPI.LAND))
    return bool(communicator.allreduce(False, MPI.LAND))


def too_many_ranks(communicator: MPI.Intracomm) -> str:
    """What a solver says that has fewer rows than there are ranks."""
    try:
        heat(communicator, resolution=communicator.size - 1)
    except ValueError as error:
        return str(error)
    return ""


def adi_on_several(communicator: MPI.Intracomm) -> str:
    """What a solver says that is to share the lines of alternating directions among ranks."""
    try:
        heat(communicator, scheme="adi")
    except ValueError as error:
        return str(error)
    return ""


def main() -> None:
    """Compares, on every number of ranks up to that of the world."""
    world = MPI.COMM_WORLD
    # Each scheme meets each kind of wall on the first axis, on one of the grids.
    cases = {
        f"{grid} {scheme}": GRIDS[grid] | SCHEMES[scheme] | {"boundary": WALLS[(i + j) % len(WALLS)]}
        for i, grid in enumerate(GRIDS)
        for j, scheme in enumerate(SCHEMES)
    }
    differences: dict[str, dict[str, float]] = {}
    references = {name: solve(MPI.COMM_SELF, case) for name, case in cases.items()} if world.rank == 0 else {}
    for size in range(2, world.size + 1):
        part = world.Split(0 if world.rank < size else MPI.UNDEFINED, world.rank)
        if part == MPI.COMM_NULL:
            continue
        for name, case in cases.items():
            found, reference = solve(part, case), references.get(name)
            if found is not None and reference is not None:
                differences[f"{name} on {size}"] = {
                    quantity: float(
                        np.max(np.abs(found[quantity] - value), initial=0.0)
                        / np.max(np.abs(value), initial=1.0)
                    )
                    for quantity, value in reference.items()
                }
        part.Free()
    report = {
        "differences": differences,
        "diverged": {name: all_ranks_diverge(world, GRIDS["2d"] | SCHEMES[name]) for name in SCHEMES},
        "too_many_ranks": too_many_ranks(world),
        "adi": adi_on_several(world),
        "automatic": heat(world).method,
    }
    if world.rank == 0:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
