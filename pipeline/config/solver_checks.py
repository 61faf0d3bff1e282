"""Checks that a solver keeps its contract and can draw all splits."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from simsurrogate.errors import UserError, file_and_class
from simsurrogate.spec import Spec
from solvers.contract import Solver

#: The attributes of every solver that the stages use.
_ATTRIBUTES = ("communicator", "spec", "block", "method")
#: Names of groups and datasets of every shard.
_RESERVED_NAMES = (
    *("time", "sample", "component", "mask", "values"),
    *("dimensions", "scalars", "parameters", "boundary_conditions", "t0_fields", "t1_fields", "t2_fields"),
)


def check(solver: Solver) -> None:
    """Check that a solver has all attributes, and that its spec has names that a shard can hold.

    Raises:
        UserError: an attribute is missing, or a name is used twice, reserved, or not a name.
    """
    cls = type(solver)
    location = file_and_class(cls)
    for attribute in _ATTRIBUTES:
        if not hasattr(solver, attribute):
            raise UserError(
                f"{location} has no attribute {attribute}. A solver needs {', '.join(_ATTRIBUTES)}, see "
                f"solvers/contract.py. Set self.{attribute} in the constructor"
            )
    spec = solver.spec
    if spec.chaotic and cls.with_other_accuracy is Solver.with_other_accuracy:
        raise UserError(
            f"{location} has the spec chaotic=True without the method with_other_accuracy. This method gives "
            "each trajectory its predictable time. Add the method, or set chaotic=False"
        )
    if unknown_names := sorted(set(spec.linear_in) - set(spec.parameter_names)):
        raise UserError(
            f"{location} has linear_in={list(spec.linear_in)} in its spec, and {unknown_names} are no scalar "
            f"parameters. The parameters are {list(spec.parameter_names)}. Remove the other names"
        )
    check_names(spec, location)


def check_names(spec: Spec, location: str) -> None:
    """Check that a spec has names that a shard can hold; `location` says where they come from.

    Raises:
        UserError: a name is used twice, reserved, or not a name.
    """
    names = [
        quantity.name
        for quantities in (
            spec.fields,
            spec.coefficient_fields,
            spec.parameters,
            spec.invariants,
            spec.quantities,
        )
        for quantity in quantities
    ]
    counts = Counter([*names, *spec.axis_names, *_RESERVED_NAMES])
    channel_counts = Counter([*spec.channels, *spec.coefficient_channels])
    for name in names:
        if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
            raise UserError(
                f"{location} has the name {name!r} in its spec. A name begins with a letter and holds "
                "letters, digits and underscores. Rename it"
            )
        if counts[name] > 1:
            raise UserError(
                f"{location} has the name {name!r} twice, or the name of an axis or of a part of a shard. "
                f"Fields, parameters, invariants, quantities and axes ({', '.join(spec.axis_names)}) need "
                f"different names, other than {', '.join(_RESERVED_NAMES)}. Rename it, for example to "
                f"{name}_value"
            )
    for channel, count in channel_counts.items():
        if count > 1:
            raise UserError(
                f"{location} has two channels with the name {channel!r}. A vector field has one channel for "
                "each direction, and every channel needs its own name. Rename a field"
            )


def check_outside(solver: Solver, num_outside: int) -> None:
    """Check that a solver draws the trajectories of the split `test_extrapolation`, if there are any.

    Raises:
        UserError: the solver has no parameters outside the training range.
    """
    if num_outside:
        solver.sample(np.random.default_rng(0), outside=True)
