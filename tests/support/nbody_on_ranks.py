"""Run by mpirun: solves the same trajectories on 1, 2, 3, ... ranks and prints how far they differ.

Rank 0 prints one JSON: for each case and number of ranks the largest difference from one rank, over the
largest value, in the final state, the masses and the invariants, and the difference of the steps taken.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from mpi4py import MPI

from solvers.contract import DivergedError
from tests.support.nbody_cases import SPHERE, nbody, sampled

# Bodies that 2, 3 and 4 ranks share unevenly; from 128 bodies a rank on they go round a ring.
BODIES: dict[str, dict[str, Any]] = {
    "few": {"dimension": 2, "system": {"kind": "figure_eight"}},
    "gathered": {
        "dimension": 3,
        "softening": 0.05,
        "system": SPHERE | {"kind": "cold_collapse", "num_bodies": 61, "mass_ratio": [0.5, 2.0]},
    },
    "ring": {
        "dimension": 3,
        "softening": 0.05,
        "system": SPHERE | {"kind": "plummer", "num_bodies": 515, "mass_ratio": [0.5, 2.0]},
    },
}
#: Spheres with so little mass that nothing else happens to two bodies that pass each other.
FLIGHTS = {
    name: {"dimension": 3, "softening": 1e-4, "system": SPHERE | {"num_bodies": count, "total_mass": 1e-3}}
    for name, count in (("few", 8), ("gathered", 14), ("ring", 515))
}
INTEGRATORS: dict[str, dict[str, Any]] = {
    "hermite4": {"integrator": "hermite4"},
    "leapfrog": {"integrator": "leapfrog", "time_step": 4e-3},
    "yoshida4": {"integrator": "yoshida4", "time_step": 4e-3},
}


def solve(communicator: MPI.Intracomm, case: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """The results for all bodies, on the communicator's first rank."""
    solver = nbody(communicator, **case)
    parameters = sampled(solver)
    state = solver.initial_state(parameters)
    for frame in range(2):
        state = solver.advance(state, parameters, 0.05 * frame, 0.05)
    invariants = solver.invariants(state, parameters)
    blocks = communicator.gather((solver.block, state, solver.coefficients(parameters)))
    if blocks is None:
        return None
    (axis,) = solver.spec.axes
    whole = np.full((len(state), axis.size), np.nan)
    mass = np.full((1, axis.size), np.nan)
    for block, part, part_mass in blocks:
        whole[:, *block], mass[:, *block] = part, part_mass
    ring = communicator.size > 1 and solver.method.endswith("in a ring")
    return {
        "state": whole,
        "mass": mass,
        "invariants": np.array(list(invariants.values())),
        "steps": np.array(solver.counts["steps"]),
        "ring": np.array(ring),
    }


def all_ranks_diverge(communicator: MPI.Intracomm, case: dict[str, Any]) -> bool:
    """Whether a NaN on the last rank alone is a `DivergedError` on every rank."""
    solver = nbody(communicator, **case)
    parameters = sampled(solver)
    state = solver.initial_state(parameters)
    if communicator.rank == communicator.size - 1:
        state[0].flat[0] = np.nan
    try:
        solver.advance(state, parameters, 0.1, 0.01)
    except DivergedError:
        return bool(communicator.allreduce(True, MPI.LAND))
    return bool(communicator.allreduce(False, MPI.LAND))


def fly_by(communicator: MPI.Intracomm, case: dict[str, Any]) -> list[float]:
    """Two bodies of a sphere pass each other within a frame: how many frames counted as close, how far apart
    the nearest bodies are after it, over a hundredth of their mean distance from the centre, and the steps.
    """
    solver = nbody(communicator, **case | {"system": case["system"] | {"kind": "cold_collapse"}})
    parameters = sampled(solver)
    state = solver.initial_state(parameters)
    # Bodies 0 and n - 1, on the first and the last rank, in an empty place.
    for body, side in ((0, 1), (case["system"]["num_bodies"] - 1, -1)):
        if solver.block[0].start <= body < solver.block[0].stop:
            state[:, body - solver.block[0].start] = [3 + 0.1 * side, 0.001 * side, 0, -4.0 * side, 0, 0]
    moved = solver.advance(state, parameters, 0.0, 0.05)
    apart = solver.invariants(moved, parameters)["least_separation"]
    everything = np.concatenate(communicator.allgather(moved[:3]), axis=1)
    spread = np.sqrt(np.sum(np.var(everything, axis=1)))
    return [solver.counts["close_encounters"], float(apart / (0.01 * spread)), solver.counts["steps"]]


def stopped(communicator: MPI.Intracomm, case: dict[str, Any]) -> list[str]:
    """What each rank says of a trajectory that takes too many steps, where the next one ends well."""
    system = case["system"] | {"kind": "cold_collapse"}
    solver = nbody(communicator, **case | {"system": system, "max_steps": 5})
    parameters = sampled(solver)
    state = solver.initial_state(parameters)
    reason = ""
    try:
        solver.advance(state, parameters, 0.0, 10.0)
    except DivergedError as error:
        reason = str(error)
    solver.advance(state, parameters, 0.0, 1e-4)
    return communicator.allgather(reason)


def too_many_ranks(communicator: MPI.Intracomm) -> str:
    """What a solver says that has fewer bodies than there are ranks."""
    try:
        nbody(communicator, system={"kind": "figure_eight"})
    except ValueError as error:
        return str(error)
    return ""


def main() -> None:
    """Compares, on every number of ranks up to that of the world."""
    world = MPI.COMM_WORLD
    cases = {
        f"{bodies} {integrator}": BODIES[bodies] | INTEGRATORS[integrator]
        for bodies in BODIES
        for integrator in INTEGRATORS
    }
    differences: dict[str, dict[str, float]] = {}
    rings: dict[str, bool] = {}
    references = {name: solve(MPI.COMM_SELF, case) for name, case in cases.items()} if world.rank == 0 else {}
    for size in range(2, world.size + 1):
        part = world.Split(0 if world.rank < size else MPI.UNDEFINED, world.rank)
        if part == MPI.COMM_NULL:
            continue
        for name, case in cases.items():
            if name.startswith("few") and size > 3:
                continue
            found, reference = solve(part, case), references.get(name)
            if found is not None and reference is not None:
                rings[f"{name} on {size}"] = bool(found.pop("ring"))
                differences[f"{name} on {size}"] = {
                    quantity: float(
                        np.max(np.abs(value - reference[quantity])) / np.max(np.abs(reference[quantity]))
                    )
                    for quantity, value in found.items()
                }
        part.Free()
    diverged = {
        f"{bodies} {integrator}": all_ranks_diverge(world, BODIES[bodies] | INTEGRATORS[integrator])
        for bodies in ("gathered", "ring")
        for integrator in INTEGRATORS
    }
    alone_and_shared = (MPI.COMM_SELF, world)
    flights = {name: [fly_by(part, FLIGHTS[name]) for part in alone_and_shared] for name in FLIGHTS}
    reasons = {name: [stopped(part, FLIGHTS[name]) for part in alone_and_shared] for name in FLIGHTS}
    message = too_many_ranks(world)
    if world.rank == 0:
        print(
            json.dumps({
                "differences": differences, "rings": rings, "diverged": diverged,
                "flights": flights, "reasons": reasons, "too_many_ranks": message,
            })
        )  # fmt: skip


if __name__ == "__main__":
    main()
