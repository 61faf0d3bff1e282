"""Solutions of `rank_cases` on 1, 2, 3 and 4 ranks, and their printed differences.

    mpirun -n 4 python -m tests.support.solve_on_ranks [SOLVER ...]

The program runs all solvers, or the solvers of the arguments. Rank 0 prints the JSON document of `main`.
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

import numpy as np
from mpi4py import MPI

from simsurrogate.errors import UserError
from solvers.contract import DivergedError, Solver, SteppedTrajectory, solver_names
from tests.support import rank_cases
from tests.support.solver_cases import build_shipped

Quantities = dict[str, np.ndarray]


def solve(communicator: MPI.Intracomm, solver: Solver) -> tuple[Quantities, dict[str, int]] | None:
    """Return the results for all sites, and the counts, on the first rank of the communicator."""
    trajectory = solver.prepare(solver.sample(np.random.default_rng(0)))
    times = np.linspace(0.0, solver.time_scale / 5, 3)
    budget: dict[str, float] = {}
    if isinstance(trajectory, SteppedTrajectory):
        state = trajectory.initial_state
        for start, end in itertools.pairwise(times):
            for name, supply in trajectory.budget(state, start, end - start).items():
                budget[name] = budget.get(name, 0.0) + supply
            state = trajectory.advance(state, start, end - start)
    else:
        *_, state = trajectory.solve(times)
    invariants = trajectory.invariants(state)
    invariants_of_modulus = trajectory.invariants(np.abs(state))
    counts = dict(trajectory.counts)
    blocks = communicator.gather((solver.block, state, trajectory.coefficient_fields))
    if blocks is None:
        return None
    spec = solver.spec
    global_state = np.full((len(spec.channels), *spec.shape), np.nan)
    coefficients = np.full((len(spec.coefficient_channels), *spec.shape), np.nan)
    for block, block_state, fields in blocks:
        global_state[:, *block] = block_state
        if fields is not None:
            coefficients[:, *block] = fields
    return {
        "state": global_state,
        "coefficient_fields": coefficients,
        "invariants": np.array(list(invariants.values())),
        "invariants_of_modulus": np.array(list(invariants_of_modulus.values())),
        "budget": np.array(list(budget.values())),
    }, counts


def differences(solution: Quantities, reference: Quantities) -> dict[str, float]:
    """Return the largest difference of each quantity, relative to its largest value.

    The difference of an invariant is relative to the value of the invariant. If the value is zero up to
    round-off, the scale is the invariant of the absolute values of the state.
    """
    reference = dict(reference)
    invariants_of_modulus = np.abs(reference.pop("invariants_of_modulus"))
    relative_differences = {}
    for quantity, expected in reference.items():
        if not expected.size:
            relative_differences[quantity] = 0.0
            continue
        scale = np.max(np.abs(expected))
        if quantity == "invariants":
            scale = np.where(
                np.abs(expected) > 1e-10 * invariants_of_modulus, np.abs(expected), invariants_of_modulus
            )
        relative_differences[quantity] = float(
            np.max(np.abs(solution[quantity] - expected) / np.maximum(scale, 1e-300))
        )
    return relative_differences


def compare(world: MPI.Intracomm, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return on rank 0 the differences from one rank and the methods, by solver, case and number of ranks."""
    report: dict[str, dict[str, Any]] = {}
    cases = [
        (name, case, changes) for name in names for case, changes in rank_cases.shared_cases(name).items()
    ]
    references = {
        (name, case): solve(MPI.COMM_SELF, build_shipped(name, **changes))
        for name, case, changes in (cases if world.rank == 0 else [])
    }
    for size in range(2, world.size + 1):
        communicator = world.Split(0 if world.rank < size else MPI.UNDEFINED, world.rank)
        if communicator == MPI.COMM_NULL:
            continue
        for name, case, changes in cases:
            try:
                solver = build_shipped(name, communicator, **changes)
            except UserError as error:
                report.setdefault(name, {})[f"{case} on {size}"] = {"refused": str(error)}
                continue
            solution, reference = solve(communicator, solver), references.get((name, case))
            if solution is None or reference is None:
                continue
            report.setdefault(name, {})[f"{case} on {size}"] = {
                "differences": differences(solution[0], reference[0]),
                "counts_equal": solution[1] == reference[1],
                "method": solver.method,
            }
        communicator.Free()
    return report


def diverging_ranks(world: MPI.Intracomm, name: str, changes: dict[str, Any]) -> int:
    """Return the number of ranks that raise `DivergedError` if only the last rank starts with NaN."""
    solver = build_shipped(name, world, **changes)
    trajectory = solver.prepare(solver.sample(np.random.default_rng(0)))
    if not isinstance(trajectory, SteppedTrajectory):
        return 0
    state = trajectory.initial_state.copy()
    if world.rank == world.size - 1:
        state[0].flat[0] = np.nan
    is_diverged = False
    try:
        trajectory.advance(state, 0.0, solver.time_scale / 20)
    except DivergedError:
        is_diverged = True
    return int(world.allreduce(int(is_diverged)))


def fly_by(communicator: MPI.Intracomm, changes: dict[str, Any]) -> list[float]:
    """Let two bodies of a sphere pass each other within a frame.

    Return the number of frames with a close encounter, the final least separation, and the number of steps.
    The unit of the separation is a hundredth of the rms (root mean square) distance from the centre.
    """
    solver = build_shipped("nbody", communicator, **changes)
    trajectory = solver.prepare(solver.sample(np.random.default_rng(0)))
    assert isinstance(trajectory, SteppedTrajectory)
    state = trajectory.initial_state.copy()
    for body, values in rank_cases.two_passing_bodies(changes["system"]["num_bodies"]).items():
        if solver.block[0].start <= body < solver.block[0].stop:
            state[:, body - solver.block[0].start] = values
    state = trajectory.advance(state, 0.0, 0.05)
    separation = trajectory.invariants(state)["least_separation"]
    positions = np.concatenate(communicator.allgather(state[:3]), axis=1)
    radius = np.sqrt(np.sum(np.var(positions, axis=1)))
    counts = trajectory.counts
    return [counts["close_encounters"], float(separation / (0.01 * radius)), counts["steps"]]


def too_many_steps(communicator: MPI.Intracomm, changes: dict[str, Any]) -> list[str]:
    """Return the error of each rank for a frame with too many steps, and solve a short frame."""
    solver = build_shipped("nbody", communicator, **changes, max_steps=5)
    trajectory = solver.prepare(solver.sample(np.random.default_rng(0)))
    assert isinstance(trajectory, SteppedTrajectory)
    reason = ""
    try:
        trajectory.advance(trajectory.initial_state, 0.0, 10.0)
    except DivergedError as error:
        reason = str(error)
    trajectory.advance(trajectory.initial_state, 0.0, 1e-4)
    return communicator.allgather(reason)


def refusal(world: MPI.Intracomm, name: str, **changes: Any) -> str:
    """Return the message that refuses the options on all ranks, or an empty text for accepted options."""
    try:
        build_shipped(name, world, **changes)
    except UserError as error:
        return str(error)
    return ""


def nbody_behaviour(world: MPI.Intracomm) -> dict[str, Any]:
    """Return the close encounters, frames with too many steps, and refusals of the n-body solver."""
    communicators = (MPI.COMM_SELF, world)
    return {
        "flights": {
            name: [fly_by(communicator, changes) for communicator in communicators]
            for name, changes in rank_cases.FLIGHTS.items()
        },
        "too_many_steps": {
            name: [too_many_steps(communicator, changes) for communicator in communicators]
            for name, changes in rank_cases.FLIGHTS.items()
        },
        "few bodies": refusal(world, "nbody", system={"kind": "figure_eight"}),
    }


def heat_behaviour(world: MPI.Intracomm) -> dict[str, Any]:
    """Return the refusals and the automatic scheme of the heat solver."""
    return {
        "few rows": refusal(world, "heat", resolution=world.size - 1),
        "adi": refusal(world, "heat", scheme="adi"),
        "automatic": build_shipped("heat", world).method,
    }


def main() -> None:
    """Print the comparisons, and the behaviour of diverging and refused cases on all ranks, as JSON."""
    world = MPI.COMM_WORLD
    names = sys.argv[1:] or solver_names()
    report: dict[str, Any] = {
        "shared": compare(world, names),
        "diverging_ranks": {
            name: {
                case: diverging_ranks(world, name, changes)
                for case, changes in rank_cases.diverging_cases(name).items()
            }
            for name in names
        },
    }
    if "nbody" in names:
        report["nbody"] = nbody_behaviour(world)
    if "heat" in names:
        report["heat"] = heat_behaviour(world)
    if world.rank == 0:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
