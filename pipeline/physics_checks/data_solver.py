"""The solver with which the trajectories of a data set are compared."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.build import (
    build_recorded_solver,
    has_changed_program,
    has_changed_sources,
    recorded_solver_class,
)
from pipeline.config.settings import Settings
from pipeline.config.solver_of_data import solver_of_data
from pipeline.data.manifest import Manifest
from pipeline.data.recorded_configuration import has_gaps, is_adopted
from simsurrogate.errors import UserError
from solvers.contract import Solver

#: The reason of the checks that need every value.
GAPS = "the data have declared gaps, and the equation needs every value"


@dataclass(frozen=True)
class DataSolver:
    """The solver of a data set on this rank alone, or the reason why there is none.

    Attributes:
        solver: the solver with the stored frames, or None.
        reason: the reason why the data are not compared with a solver; empty if they are.
        is_own: whether the solver has computed the data. Adopted data may have that of the command line.
        equation: the solver whose equation the data satisfy, or None. It cannot compute them again if its
            sources have changed, or if adopted data lack parameters.
        is_declared: whether adopted data are declared as computed by this solver.
    """

    solver: Solver | None
    reason: str
    is_own: bool
    equation: Solver | None = None
    is_declared: bool = False


def solver_of(settings: Settings, manifest: Manifest) -> DataSolver:
    """Return the solver of a data set on this rank alone, or the reason why there is none."""
    from mpi4py import MPI

    configuration = manifest.configuration
    if is_adopted(configuration):
        return _solver_of_adopted(settings, manifest)
    try:
        constructor = recorded_solver_class(configuration, settings.solver)
    except UserError as error:
        return DataSolver(None, str(error), True)
    try:
        solver = build_recorded_solver(configuration, settings.solver, MPI.COMM_SELF)
    except UserError as error:
        if not (manifest.origin.is_model_output or has_changed_sources(configuration, constructor)):
            raise
        return DataSolver(None, str(error), True)
    own_origin = getattr(solver, "recorded_origin", dict[str, object])().get("origin")
    changes = {
        "sources of the solver": has_changed_sources(configuration, constructor),
        "program of the solver": has_changed_program(configuration, solver),
        "model": configuration.get("origin") != own_origin,
    }
    if changed := next((name for name, has_changed in changes.items() if has_changed), None):
        verb = "have" if changed.startswith("sources") else "has"
        return DataSolver(None, f"the {changed} {verb} changed after the generation", True, solver)
    return DataSolver(solver, "", True)


def _solver_of_adopted(settings: Settings, manifest: Manifest) -> DataSolver:
    """Return the solver of the command line for adopted data.

    Data that are declared as those of this solver, and that lack parameters, satisfy its equation.
    """
    from mpi4py import MPI

    if has_gaps(manifest.configuration):
        return DataSolver(None, GAPS, False)
    arguments = (manifest.configuration, manifest.spec, settings.solver, MPI.COMM_SELF)
    origin = manifest.origin
    is_declared = origin.kind == "solver" and origin.name == settings.solver.get("name")
    try:
        solver = solver_of_data(*arguments)
    except UserError as error:
        if not is_declared:
            raise
        equation = solver_of_data(*arguments, has_trajectories=False)
        return DataSolver(None, str(error), False, equation, is_declared)
    reason = "the data set was adopted from files without a solver. Type solver=NAME to compare it"
    return DataSolver(solver, "" if solver else reason, False, solver, is_declared)
