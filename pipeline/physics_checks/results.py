"""The results of all checks of a data set's physics, with and without its solver."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.adoption import recomputation as comparison
from pipeline.config.quantities import recorded_quantities, with_quantities
from pipeline.config.settings import Settings
from pipeline.data.accuracy import SelfStatedError
from pipeline.data.checks.result import CheckResult
from pipeline.data.format.structure import Structures
from pipeline.data.manifest import Manifest, receipts_of
from pipeline.data.plan import Shard
from pipeline.data.recorded_configuration import has_gaps, is_adopted
from pipeline.generation import recomputation
from pipeline.generation.rows import parameter_shapes
from pipeline.physics_checks import draws, redrawn, row_checks, stated_error, steps
from pipeline.physics_checks.data_solver import GAPS, DataSolver
from pipeline.physics_checks.row_checks import Finding, RowCheck
from pipeline.physics_checks.stored_rows import NotApplicableError, order_of, rows_of
from pipeline.runs import progress
from simsurrogate.files import differences
from solvers.contract import Solver

if TYPE_CHECKING:
    from mpi4py import MPI

#: The name of each check that needs the solver that computed the data.
_OWN_SOLVER_CHECKS = ("solver", "draws", "redrawn", "steps", "budget")
#: The name of each check that needs a solver of the data.
_SOLVER_CHECKS = (*_OWN_SOLVER_CHECKS, "recomputed", "residual")
#: The reason of the checks in `_OWN_SOLVER_CHECKS` for adopted data.
_ADOPTED = "the solver of the command line has not computed these data, which were adopted from files"
#: The name of each check of stored frames without a solver.
_FRAME_CHECKS = ("conserved_means", "divergence", "boundary_values", "resolution")


def solver_results(
    settings: Settings,
    folder: Path,
    manifest: Manifest,
    structures: Structures,
    *,
    data_solver: DataSolver,
    world: MPI.Intracomm,
) -> list[CheckResult]:
    """Return the results of this rank: its share of the shards and of the recomputed trajectories.

    All ranks call this function together, for a data set without damage. Each check that does not apply has a
    result with the reason.
    """
    is_first, solver = world.rank == 0, data_solver.solver
    results: list[CheckResult] = []
    if solver is None:
        if is_first:
            note = f"note: no trajectory is computed again, because {data_solver.reason}"
            print(note, file=sys.stderr, flush=True)
            checks = [check for check in _SOLVER_CHECKS if check != "residual" or not data_solver.equation]
            results = _not_applicable(checks, folder, data_solver.reason)
    elif data_solver.is_own:
        if message := solver_mistake(manifest, solver):
            reason = "the solver is not that of the manifest, see the failed check solver"
            others = _not_applicable((*_SOLVER_CHECKS[1:], *_FRAME_CHECKS), folder, reason)
            return [CheckResult("solver", str(folder), "failed", message), *others] if is_first else []
        results = list(_own_solver_results(folder, manifest, structures, solver, world))
    else:
        if is_first:
            results = _not_applicable(_OWN_SOLVER_CHECKS, folder, _ADOPTED)
        results += _other_solver_results(settings, folder, manifest, structures, solver=solver, world=world)
    return results + list(_row_results(folder, manifest, structures, data_solver, world))


def results_after_failure(folder: Path) -> list[CheckResult]:
    """Return the results of all checks of the physics for a data set with a failed check of a shard."""
    reason = (
        "the checks of a shard failed, so its frames were not compared with the physics. Correct it first"
    )
    return _not_applicable((*_SOLVER_CHECKS, *_FRAME_CHECKS, "self_stated_error"), folder, reason)


def self_stated_error(
    settings: Settings,
    folder: Path,
    manifest: Manifest,
    structures: Structures,
    *,
    data_solver: DataSolver,
    has_failed: bool,
    world: MPI.Intracomm,
) -> SelfStatedError | CheckResult:
    """Return the self-stated error of a data set without damage, or the reason why it has none.

    All ranks call this function together, and the result is the same on all of them. `has_failed` says that
    the data failed another check of the physics.
    """
    try:
        if data_solver.solver is None:
            raise NotApplicableError(data_solver.reason)
        if not data_solver.is_own:
            raise NotApplicableError(_ADOPTED)
        if manifest.origin.is_model_output:
            raise NotApplicableError("a surrogate computed the data, and no solver")
        if has_failed:
            raise NotApplicableError("the data failed a check of their physics")
        return stated_error.measure(
            settings.solver, folder, manifest, structures, solver=data_solver.solver, world=world
        )
    except NotApplicableError as reason:
        return CheckResult("self_stated_error", str(folder), "not applicable", str(reason))


def _own_solver_results(
    folder: Path, manifest: Manifest, structures: Structures, solver: Solver, world: MPI.Intracomm
) -> Iterator[CheckResult]:
    """Yield the comparisons with the solver of the data: its draws, and a few trajectories."""
    if world.rank == 0:
        yield CheckResult("solver", str(folder), "passed")
        yield CheckResult.of_mistake(
            "draws", str(folder), draws.mistake(solver, manifest.configuration["seed"])
        )
    chosen = recomputation.chosen_rows(folder, manifest, solver)
    if not chosen and world.rank == 0:
        reasons = {
            recomputation.other_method(manifest, solver, receipt) for receipt in receipts_of(folder, manifest)
        }
        yield CheckResult("recomputed", str(folder), "not applicable", max(reasons, key=len))
    for row in chosen[world.rank :: world.size]:
        message = recomputation.difference(folder, manifest, structures, solver, row)
        yield CheckResult.of_mistake("recomputed", row.shard.file, message)


def _other_solver_results(
    settings: Settings,
    folder: Path,
    manifest: Manifest,
    structures: Structures,
    *,
    solver: Solver,
    world: MPI.Intracomm,
) -> Iterator[CheckResult]:
    """Yield the comparisons of adopted trajectories with the solver of the command line."""
    max_error = settings.storage.max_error
    for row in recomputation.chosen_rows(folder, manifest, solver)[world.rank :: world.size]:
        message = comparison.difference(
            folder, manifest, solver, row, structures=structures, max_error=max_error
        )
        yield CheckResult.of_mistake("recomputed", row.shard.file, message)


def _row_results(
    folder: Path, manifest: Manifest, structures: Structures, data_solver: DataSolver, world: MPI.Intracomm
) -> Iterator[CheckResult]:
    """Yield the checks of every stored trajectory of this rank's shards."""
    if has_gaps(manifest.configuration):
        yield from _not_applicable(_FRAME_CHECKS, folder, GAPS) if world.rank == 0 else []
        return
    checks: dict[str, RowCheck] = {}
    for name, factory in _factories(manifest, data_solver).items():
        try:
            checks[name] = factory()
        except NotApplicableError as reason:
            if world.rank == 0:
                yield CheckResult(name, str(folder), "not applicable", str(reason))
    for shard in progress.bar(_own_shards(manifest, world), "physics", rank=world.rank):
        tallies = {name: _Tally() for name in checks}
        for row in rows_of(folder, structures, shard, data_solver.solver):
            for name, check in checks.items():
                try:
                    tallies[name].add(row.index, check(row))
                except NotApplicableError as reason:
                    tallies[name].reason = str(reason)
        for name, tally in tallies.items():
            if not tally.count:
                if tally.reason:
                    yield CheckResult(name, shard.file, "not applicable", tally.reason)
                continue
            is_foreign = is_adopted(manifest.configuration) and not (
                data_solver.is_declared and name == "residual"
            )
            is_prediction = manifest.origin.is_model_output and name not in _OWN_SOLVER_CHECKS
            is_warning = name == "resolution" or is_foreign or is_prediction
            yield tally.result(name, shard.file, "warning" if is_warning else "failed")


def _factories(manifest: Manifest, data_solver: DataSolver) -> dict[str, Callable[[], RowCheck]]:
    """Return the function that makes each check of a trajectory, by the name of the check."""
    spec, solver, num_frames = manifest.spec, data_solver.solver, len(manifest.header.times)
    is_spectral = (
        solver is not None
        and data_solver.is_own
        and math.isinf(order_of(getattr(solver, "fine", solver), "space"))
    )
    factories: dict[str, Callable[[], RowCheck]] = {}
    if solver is not None and data_solver.is_own:
        factories["redrawn"] = lambda: redrawn.check
    factories |= {
        "conserved_means": lambda: row_checks.means(spec),
        "divergence": lambda: row_checks.divergence(spec, is_spectral),
        "boundary_values": lambda: row_checks.walls(spec),
        "resolution": lambda: row_checks.resolution(spec),
    }
    equation = solver or data_solver.equation
    if equation is not None:
        factories["residual"] = lambda: row_checks.residual(equation, num_frames)
    if solver is not None and data_solver.is_own:
        factories["steps"] = lambda: steps.steps(solver, manifest)
        factories["budget"] = lambda: steps.budget(solver, manifest)
    return factories


def _not_applicable(checks: Iterable[str], folder: Path, reason: str) -> list[CheckResult]:
    """Return the result of each of these checks of the whole data set."""
    return [CheckResult(check, str(folder), "not applicable", reason) for check in checks]


class _Tally:
    """The findings of one check in the trajectories of a shard; `reason` says why it has none."""

    def __init__(self) -> None:
        self.reason = ""
        self.messages: list[str] = []
        self.numbers: dict[str, float] = {}
        self.count = 0

    def add(self, index: int, finding: Finding | None) -> None:
        """Add the finding of a trajectory; None for one that is not in the sample of the check."""
        if finding is None:
            return
        self.count += 1
        for name, value in finding.numbers.items():
            self.numbers[name] = max(value, self.numbers.get(name, value))
        if finding.message:
            self.messages.append(f"trajectory {index}: {finding.message}")

    def result(self, check: str, file: str, outcome: Literal["failed", "warning"]) -> CheckResult:
        """Return the result of the shard, with the first message and the largest numbers."""
        numbers = {**self.numbers, "trajectories": float(self.count)}
        if not self.messages:
            return CheckResult(check, file, "passed", numbers=numbers)
        others = f" ({len(self.messages)} trajectories of the shard)" if len(self.messages) > 1 else ""
        return CheckResult(check, file, outcome, self.messages[0] + others, numbers)


def _own_shards(manifest: Manifest, world: MPI.Intracomm) -> list[Shard]:
    """Return the shards that this rank checks."""
    return manifest.planned_shards[world.rank :: world.size]


def solver_mistake(manifest: Manifest, solver: Solver) -> str | None:
    """Return how spec and shapes of parameters differ from those of the recorded solver, or None."""
    shapes = parameter_shapes(solver, manifest.configuration["seed"])
    spec = with_quantities(solver.spec, recorded_quantities(manifest.configuration))
    changed = [
        *differences(manifest.spec.to_json(), spec.to_json(), "spec"),
        *differences(manifest.parameter_shapes, shapes, "parameter_shapes"),
    ]
    return f"manifest and solver differ (manifest -> solver): {'; '.join(changed[:3])}" if changed else None
