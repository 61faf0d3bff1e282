"""The solver of a data set, also of one that was adopted from files."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.config.agreement import is_typed
from pipeline.config.build import build_recorded_solver, build_solver
from pipeline.config.unused_options import Options
from pipeline.data.recorded_configuration import computed_by_solver, is_adopted
from simsurrogate.errors import UserError
from simsurrogate.spec import Spec
from solvers.contract import Solver


def added_solver(configuration: Options, options: Options) -> dict[str, object]:
    """Return the section `solver` if this command line adds a solver to adopted data; otherwise nothing."""
    return {"solver": options} if is_adopted(configuration) and is_typed("solver") else {}


def solver_of_data(
    configuration: Options, spec: Spec, options: Options, communicator: Any, *, has_trajectories: bool = True
) -> Solver | None:
    """Return the solver of a data set; None for adopted data without a solver on this command line.

    The solver of a surrogate's data is that from whose data the surrogate descends.
    Adopted data take the solver of this command line if a key `solver` is typed.

    Args:
        configuration: the configuration in the manifest.
        spec: the spec of the data set.
        options: the section `solver` of this command line.
        communicator: the ranks that share a trajectory.
        has_trajectories: whether the caller computes the trajectories of the data set again.

    Raises:
        UserError: see `build_recorded_solver`; or the typed solver does not describe the adopted data.
    """
    if not is_adopted(configuration):
        return build_recorded_solver(computed_by_solver(configuration), options, communicator)
    if not is_typed("solver"):
        return None
    solver = build_solver(options, communicator)
    _refuse_other_problem(solver, spec, options)
    if has_trajectories:
        needed = solver.sample(np.random.default_rng(0)).keys()
        present = {*spec.parameter_names, *configuration["adopted"].get("arrays", ())}
        if missing := sorted(needed - present):
            raise UserError(
                f"solver={options['name']} computes a trajectory from {', '.join(missing)}, which the "
                "adopted data do not hold. A solver needs all parameters of each trajectory. Leave out "
                "solver="
            )
    return solver


def _refuse_other_problem(solver: Solver, spec: Spec, options: Options) -> None:
    """Refuse a solver of other fields, parameters or sites than those of adopted data."""
    # Coordinates in float32 have round-off.
    tolerance = 1e-4 * min(spec.extent)
    for name in (
        "channels", "coefficient_channels", "parameter_names", "shape", "boundaries", "lower", "extent",
    ):  # fmt: skip
        value, solver_value = getattr(spec, name), getattr(solver.spec, name)
        if value != solver_value and not (
            name in ("lower", "extent") and np.allclose(value, solver_value, rtol=0, atol=tolerance)
        ):
            raise UserError(
                f"solver={options['name']} has {name}={solver_value}, and the adopted data have {value}. "
                "Both have to agree. Type the options of the solver that computed the data, or leave out "
                "solver="
            )
