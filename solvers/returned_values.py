"""Checks of what a solver's methods return. An error names the file of the solver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simsurrogate.errors import UserError, file_and_class
from simsurrogate.spec import Spec
from solvers.contract import Solver, Trajectory


def check_trajectory(solver: Solver, trajectory: object) -> Trajectory:
    """Return what `prepare` of a solver returned.

    Raises:
        UserError: the value is no trajectory; names the file of the solver's class.
    """
    if not isinstance(trajectory, Trajectory):
        raise UserError(
            f"{file_and_class(type(solver))}.prepare returns a {type(trajectory).__name__}. A solver returns "
            "a Trajectory. Let the class inherit from solvers.contract.Trajectory or SteppedTrajectory"
        )
    return trajectory


def check_shape(owner: object, name: str, values: object, expected_shape: tuple[int, ...]) -> None:
    """Check that an array has the shape (channels, *block).

    Raises:
        TypeError: the shape differs, or the value is no array; names the file of `owner`'s class.
    """
    if getattr(values, "shape", None) != expected_shape:
        raise TypeError(
            f"{file_and_class(type(owner))} returns {name} of {_shape_text(values)}. Its spec and block "
            f"require {expected_shape} = (channels, *block)"
        )


def check_invariants(
    owner: object, invariants: object, spec: Spec, expected_shape: tuple[int, ...] = ()
) -> None:
    """Check that invariants have the names of the spec, and one value for each state, see `check_scalars`."""
    names = [quantity.name for quantity in spec.invariants]
    check_scalars(owner, invariants, "invariant", names, expected_shape)


def check_quantities(owner: object, quantities: object, spec: Spec) -> None:
    """Check that a solver's own quantities have the names of the spec, see `check_scalars`."""
    names = [quantity.name for quantity in spec.quantities if quantity.reduce is None]
    check_scalars(owner, quantities, "quantity", names)


def check_scalars(
    owner: object, values: object, kind: str, names: Sequence[str], expected_shape: tuple[int, ...] = ()
) -> None:
    """Check that values of a kind have these names, and one value for each state.

    Raises:
        TypeError: a name is missing or unknown, or a value has another shape; names the file of `owner`'s
            class.
    """
    expected_names = sorted(names)
    if not isinstance(values, Mapping) or sorted(values) != expected_names:
        returned = sorted(values) if isinstance(values, Mapping) else type(values).__name__
        plural = {"invariant": "invariants", "quantity": "quantities"}[kind]
        raise TypeError(
            f"{file_and_class(type(owner))} returns the {plural} {returned}. Its spec requires a "
            f"dictionary with the names {expected_names}"
        )
    for name, value in values.items():
        if np.shape(value) != expected_shape:
            raise TypeError(
                f"{file_and_class(type(owner))} returns the {kind} {name!r} of {_shape_text(value)}. One "
                f"number for each state is required, shape {expected_shape}"
            )


def _shape_text(values: object) -> str:
    shape = getattr(values, "shape", None)
    return f"type {type(values).__name__}" if shape is None else f"shape {shape}"
