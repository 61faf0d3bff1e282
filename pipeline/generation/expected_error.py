"""The expected discretisation error of a data set, estimated from its first trajectories before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config.settings import Settings
from pipeline.data.accuracy import ExpectedError
from pipeline.data.manifest import Manifest
from pipeline.data.plan import generator, index
from pipeline.generation.drawn_range import check_drawn_range
from pipeline.generation.first_trajectory import check_first_trajectory
from pipeline.parallel.stopping import StoppedError, StopRequest
from simsurrogate.errors import UserError
from solvers.contract import DiscretisationError, DivergedError, Solver

if TYPE_CHECKING:
    from mpi4py import MPI

#: The number of trajectories of each range of parameters. The splits train, valid and test share one range.
NUM_TRAJECTORIES = 3

#: The largest error in time without a caution.
LEAST_TIME_ERROR = 1e-4

#: The largest estimates of grid and time error by split: `train` for all splits of the training range.
ExpectedErrors = Mapping[str, DiscretisationError]


def estimate_errors(
    settings: Settings,
    plan: Manifest,
    own_solver: Solver,
    solver: Solver,
    *,
    world: MPI.Intracomm,
    request: StopRequest,
) -> dict[str, ExpectedError]:
    """Print cautions and the expected errors, and return the errors; empty without an estimate.

    The errors are those of `own_solver` on its own grid. The stored frames, which may be coarser, are those
    of `solver`.

    Raises:
        UserError: an expected error exceeds `storage.max_error`, most frames are round-off, or the solver's
            options do not work with the duration.
        StoppedError: the process received SIGUSR1 before the last trajectory of the estimate.
    """
    times, samples = plan.header.times, settings.samples.model_dump(exclude={"per_shard"})
    start_caution = check_drawn_range(own_solver, settings.seed, samples, world)
    for caution in (*own_solver.cautions(float(times[-1])), start_caution):
        if world.rank == 0 and caution:
            print(f"generate: caution: {caution}", flush=True)
    errors = expected_errors(settings, own_solver, times, world, request)
    if not errors:
        if world.rank == 0:
            has_estimate = type(own_solver).discretisation_error is not Solver.discretisation_error
            print(
                f"generate: the expected error is not estimated: {own_solver.spec.name} has no estimate"
                f"{' for these options' if has_estimate else ''}",
                flush=True,
            )
        return {}
    caution = check_first_trajectory(solver, settings.seed, times, settings.storage.precision, world)
    if world.rank == 0:
        if caution and not start_caution:
            print(f"generate: caution: {caution}", flush=True)
        grid = " on the solver's own grid" if plan.spec.coarsening else ""
        print(f"generate: expected error{grid} at {times[-1]:g} s: {describe(errors)}", flush=True)
        for split, error in errors.items():
            if error.time > max(0.1 * error.grid, LEAST_TIME_ERROR):
                print(
                    f"generate: caution: the error in time of {split}, {_percent(error.time)}, is not small "
                    f"next to that of the grid, {_percent(error.grid)}. A smaller solver.tolerance or "
                    "solver.time_step reduces it",
                    flush=True,
                )
    coarse_cells = plan.spec.coarsening.cells if plan.spec.coarsening else (1,) * len(plan.spec.shape)
    refuse_errors(errors, settings.storage.max_error, own_solver, float(times[-1]), coarse_cells)
    return {
        split: ExpectedError(grid=float(f"{error.grid:.3g}"), time=float(f"{error.time:.3g}"))
        for split, error in errors.items()
    }


def expected_errors(
    settings: Settings, solver: Solver, times: np.ndarray, world: MPI.Intracomm, request: StopRequest
) -> ExpectedErrors:
    """Return the largest estimate over the first trajectories of `train` and of `test_extrapolation`.

    The groups of ranks share the trajectories. A split without an estimate, because the solver has none or
    because its trajectories diverge, is omitted.

    Raises:
        StoppedError: the process received SIGUSR1 before the last trajectory.
    """
    samples = settings.samples.model_dump()
    group = solver.communicator
    first_group, num_groups = world.rank // group.size, world.size // group.size
    tasks = [
        (split, position)
        for split in ("train", "test_extrapolation")
        for position in range(min(NUM_TRAJECTORIES, samples[split]))
    ]
    own_estimates, is_stopped = [], False
    for split, position in tasks[first_group::num_groups]:
        if is_stopped := any(group.allgather(request.is_received)):
            break
        parameters = solver.sample(
            generator(settings.seed, index(split, position)), split == "test_extrapolation"
        )
        try:
            estimate = solver.discretisation_error(parameters, times)
        except DivergedError:
            estimate = None
        if estimate is not None and math.isfinite(estimate.total):
            own_estimates.append((split, estimate))
    if any(world.allgather(is_stopped)):
        raise StoppedError("the expected error is not estimated. Run the same command again to continue")
    largest: dict[str, DiscretisationError] = {}
    for split, estimate in sorted(
        (pair for pairs in world.allgather(own_estimates) for pair in pairs), key=lambda pair: pair[1].total
    ):
        largest[split] = estimate
    return {split: largest[split] for split in ("train", "test_extrapolation") if split in largest}


def describe(errors: ExpectedErrors) -> str:
    """Return the expected errors in words."""
    ranges = {"train": "train, valid and test", "test_extrapolation": "test_extrapolation"}
    return "; ".join(
        f"{ranges[split]} {_percent(error.total)} (grid {_percent(error.grid)}, time {_percent(error.time)})"
        for split, error in errors.items()
    )


def refuse_errors(
    errors: ExpectedErrors, max_error: float, solver: Solver, duration: float, coarse_cells: Sequence[int]
) -> None:
    """Refuse a data set with an expected error above `max_error`.

    A stored cell has `coarse_cells` of the solver's cells along each axis, which divide the named resolution.

    Raises:
        UserError: an error is too large; the message names the error and a sufficient resolution.
    """
    for split, error in errors.items():
        if error.total <= max_error:
            continue
        if error.time > error.grid:
            remedy = "a smaller solver.tolerance or solver.time_step"
        elif math.isfinite(solver.order_in_space):
            factor = (error.grid / max_error) ** (1 / solver.order_in_space)
            divisors = [math.lcm(2, count) for count in coarse_cells]
            cells = [
                divisor * math.ceil(factor * axis.size / divisor)
                for axis, divisor in zip(solver.spec.axes, divisors, strict=True)
            ]
            remedy = f"solver.resolution=[{','.join(map(str, cells))}] or finer"
        else:
            remedy = "a finer solver.resolution"
        is_outside = split == "test_extrapolation"
        raise UserError(
            f"the expected error of split {split} at {duration:g} s is {100 * error.total:.3g} % of the "
            f"solution (grid {_percent(error.grid)}, time {_percent(error.time)}), the largest of "
            f"{NUM_TRAJECTORIES} trajectories{' outside the training ranges' if is_outside else ''}. "
            f"storage.max_error={max_error:g} allows {100 * max_error:.3g} %. Type {remedy}, "
            + ("samples.test_extrapolation=0, " if is_outside else "")
            + "or a larger storage.max_error"
        )


def _percent(error: float) -> str:
    return f"{100 * error:.2g} %"
