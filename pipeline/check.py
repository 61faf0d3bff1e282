"""The check of a solver's contract: what a solver of your own does, next to what the stages need.

    python -m pipeline.check solver=heat
    mpirun -n 2 python -m pipeline.check solver.path=my_solver.py output.duration=2.0

The checks use the solver's own options, and five times from 0 to `output.duration`. A failed check says in
words what is wrong, and the exit code is 2. The check of ranks needs several ranks.
"""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from mpi4py import MPI

from pipeline import cli
from pipeline.config.build import build_solver
from pipeline.config.settings import Settings
from pipeline.config.unused_options import Options
from pipeline.parallel import launch
from pipeline.parallel.groups import wait_for_ranks
from simsurrogate.errors import UserError, file_and_class
from solvers.contract import Solver
from solvers.contract_checks import draws, orders, ranks, solutions

#: The number of frames of each solution.
_NUM_FRAMES = 5


@dataclass
class _Report:
    """The printed results of the checks."""

    failed: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, name: str, check: Callable[[], Iterator[str]]) -> None:
        """Run a check, and print its result; an exception counts as a failure."""
        try:
            mistakes = list(check())
        except Exception as error:
            mistakes = [_text_of(error)]
        self.add_result(name, mistakes)

    def add_result(self, name: str, mistakes: list[str]) -> None:
        """Print the result of a check."""
        self.count += 1
        if mistakes:
            self.failed.append(name)
        for mistake in mistakes or ["passed"]:
            print(f"check: {name}: {'FAILED: ' if mistakes else ''}{mistake}", flush=True)


def run(settings: Settings) -> None:
    """Check the solver of the settings, and print a line for each check.

    Raises:
        UserError: the solver cannot be constructed or identified, or a check failed.
    """
    world = launch.world()
    times = np.linspace(0.0, settings.output.duration, _NUM_FRAMES)
    solver = build_solver(settings.solver, MPI.COMM_SELF)
    solver.program_identity()
    report = _Report()
    if world.rank == 0:
        print(f"check: {file_and_class(type(solver))}: {solver.spec.summary}", flush=True)
        _check_alone(settings, solver, times, report)
    wait_for_ranks(world)
    _check_ranks(settings, solver, times, report, world)
    failed, count = world.bcast((report.failed, report.count))
    if failed:
        raise UserError(
            f"{len(failed)} of {count} checks of the solver {solver.spec.name} failed: {', '.join(failed)}. "
            "All checks have to pass, so that data sets are correct and the same on every machine. Correct "
            "the solver and type the command again; solvers/contract.py describes the contract"
        )
    if world.rank == 0:
        print(f"check: the solver {solver.spec.name} passed {count} checks", flush=True)


def _check_alone(settings: Settings, solver: Solver, times: np.ndarray, report: _Report) -> None:
    """Run the checks of one rank. Without a correct shape, later checks have no meaning."""
    report.add("declarations", lambda: draws.declarations(solver))
    report.add("samples", lambda: draws.samples(solver, has_outside=_has_outside(solver)))
    report.add("seeds", lambda: draws.seeds(solver))
    report.add("shapes", lambda: solutions.shapes(solver, times))
    if "shapes" in report.failed:
        print("check: the other checks need states of the right shape and are left out", flush=True)
        return
    report.add("seeds and solutions", lambda: solutions.trajectories_of_seeds(solver, times))
    report.add("determinism", lambda: solutions.determinism(solver, times))
    report.add("frames", lambda: solutions.frames(solver, times))
    report.add("invariants", lambda: solutions.conservation(solver, times))
    _check_orders(settings, solver, float(times[-1]), report)


def _check_orders(settings: Settings, solver: Solver, duration: float, report: _Report) -> None:
    """Check the declared orders of a solver with the options that refine its steps and its grid."""
    options = inspect.signature(type(solver)).parameters
    for direction, option, order, check in (
        ("time", "time_step", solver.order_in_time, orders.in_time),
        ("space", "resolution", solver.order_in_space, orders.in_space),
    ):
        name = f"order in {direction}"
        if option not in options:
            _leave_out(name, f"there is no option {option} to refine")
        elif math.isnan(order):
            _leave_out(name, f"order_in_{direction} is not declared")
        elif option == "time_step" and math.isinf(order):
            _leave_out(name, "the scheme is exact in time")
        else:
            try:
                mistakes = list(check(partial(_with_option, settings.solver, option), duration))
            except UserError as error:
                _leave_out(name, str(error))
                continue
            except Exception as error:
                mistakes = [_text_of(error)]
            if mistakes and math.isinf(order):
                _leave_out(name, f"{mistakes[0]}. The drawn fields may be too rough for these grids")
            else:
                report.add_result(name, mistakes)


def _with_option(options: Options, name: str, value: float) -> Solver:
    return build_solver({**options, name: value}, MPI.COMM_SELF)


def _leave_out(name: str, reason: str) -> None:
    print(f"check: {name}: left out: {reason}", flush=True)


def _check_ranks(
    settings: Settings, solver: Solver, times: np.ndarray, report: _Report, world: MPI.Intracomm
) -> None:
    """Compare the solution of all ranks with that of one rank; all ranks call this function."""
    if world.size == 1:
        print(
            "check: ranks: left out: type mpirun -n 2 before the command to check several ranks", flush=True
        )
        return
    if world.bcast("shapes" in report.failed):
        return
    try:
        shared = build_solver(settings.solver, world)
    except UserError as error:
        if world.rank == 0:
            _leave_out("ranks", str(error))
        return
    try:
        mistakes = list(ranks.ranks(solver, shared, times))
    except Exception as error:
        # Other ranks may wait for this rank, so its error has to end all ranks.
        print(f"check: ranks: FAILED: {_text_of(error)}", flush=True)
        raise
    if world.rank == 0:
        report.add_result("ranks", mistakes)


def _has_outside(solver: Solver) -> bool:
    """Return whether the solver draws parameters outside of their ranges."""
    try:
        solver.sample(np.random.default_rng(0), outside=True)
    except UserError as error:
        _leave_out("samples outside the ranges", str(error))
        return False
    return True


def _text_of(error: Exception) -> str:
    """Return an exception and the line that raised it, in one sentence."""
    (*_, frame) = traceback.extract_tb(error.__traceback__)
    return f"the solver raises {type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"


if __name__ == "__main__":
    cli.main(run)
