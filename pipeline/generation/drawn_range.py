"""The resolution of the drawn fields by the solver's grid, before a data set is generated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.data.plan import generator, index
from pipeline.generation import resolution
from solvers.contract import DivergedError, Parameters, Solver, SteppedTrajectory
from solvers.returned_values import check_shape, check_trajectory

if TYPE_CHECKING:
    from mpi4py import MPI

#: The number of trajectories of `train` whose parameters are drawn to find extreme ones.
_NUM_CANDIDATES = 64

#: The largest number of trajectories that are prepared, and the largest share of all trajectories.
_MAX_DRAWS = 16
_MAX_SHARE = 0.1


def check_drawn_range(solver: Solver, seed: int, samples: Mapping[str, int], world: MPI.Intracomm) -> str:
    """Return a caution if the solver's grid does not resolve the start of a trajectory, or an empty text.

    The trajectories are the first one of each split, and those of `train` with the smallest and the largest
    value of each scalar parameter. Only their initial states and smooth coefficient fields are made, so the
    check takes a small share of the generation. The groups of ranks share the trajectories, and all ranks get
    the same text.
    """
    if solver.spec.has_particles:
        return ""
    group = solver.communicator
    cautions = {}
    for position, (split, number) in enumerate(_draws(solver, seed, samples)):
        if position % (world.size // group.size) == world.rank // group.size:
            parameters = solver.sample(generator(seed, index(split, number)), split == "test_extrapolation")
            if text := _unresolved_start(solver, parameters):
                cautions[position] = f"trajectory {number} of {split} at 0 s: {text}"
    found = {position: text for of_rank in world.allgather(cautions) for position, text in of_rank.items()}
    return found[min(found)] if found else ""


def _draws(solver: Solver, seed: int, samples: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the split and the number of the trajectories to prepare, the same on all ranks."""
    draws = [(split, 0) for split, count in samples.items() if count]
    drawn = [
        solver.sample(generator(seed, index("train", number)))
        for number in range(min(samples["train"], _NUM_CANDIDATES))
    ]
    for name in solver.spec.parameter_names:
        numbers = sorted(range(len(drawn)), key=lambda number: float(drawn[number][name]))
        draws += [("train", number) for number in numbers[:1] + numbers[-1:]]
    limit = max(len(samples), min(_MAX_DRAWS, int(_MAX_SHARE * sum(samples.values()))))
    return list(dict.fromkeys(draws))[:limit]


def _unresolved_start(solver: Solver, parameters: Parameters) -> str:
    """Return what the grid does not resolve at time 0; all ranks that share the trajectory call together."""
    try:
        trajectory = check_trajectory(solver, solver.prepare(parameters))
    except DivergedError:
        return ""
    # Other trajectories have no fields before they are solved.
    if not isinstance(trajectory, SteppedTrajectory):
        return ""
    spec = solver.spec
    fields = [("initial_state", trajectory.initial_state, spec.channels)]
    # Media of several phases have jumps at any resolution.
    if spec.coefficient_channels and spec.smooth_coefficients and trajectory.coefficient_fields is not None:
        fields.append(("coefficient_fields", trajectory.coefficient_fields, spec.coefficient_channels))
    block_shape = tuple(cells.stop - cells.start for cells in solver.block)
    for name, values, channels in fields:
        check_shape(trajectory, name, values, (len(channels), *block_shape))
        if text := resolution.unresolved(solver, values, channels):
            return text
    return ""
