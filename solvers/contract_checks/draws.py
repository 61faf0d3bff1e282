"""Checks of what a solver declares and draws, without a solution."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import get_args

import numpy as np

from simsurrogate.sites import Boundary
from simsurrogate.spec import Spec
from solvers.contract import Parameters, Solver

#: The number of drawn trajectories of `samples`.
NUM_DRAWS = 20


def declarations(solver: Solver) -> Iterator[str]:
    """Check the orders, the time scale and the spec."""
    for name in ("order_in_time", "order_in_space", "time_scale"):
        value = getattr(solver, name, None)
        if not isinstance(value, (int, float)) or value <= 0:
            yield f"{name} is {value}. It has to be a positive number"
    if isinstance(getattr(solver, "time_scale", None), float) and not math.isfinite(solver.time_scale):
        yield f"time_scale is {solver.time_scale}. It has to be finite"
    if not getattr(solver, "method", ""):
        yield "method is empty. It has to name the numerical method"
    spec = solver.spec
    if json.loads(json.dumps(spec.to_json()))["name"] != spec.name:
        yield "the spec does not survive a conversion to JSON"
    yield from _quantity_mistakes(spec)
    yield from _site_mistakes(solver)


def samples(solver: Solver, *, has_outside: bool = True) -> Iterator[str]:
    """Check the types, ranges and shapes of the drawn parameters, inside and outside the ranges."""
    scalars = {parameter.name: parameter for parameter in solver.spec.parameters}
    shapes: dict[str, tuple[int, ...]] = {}
    for seed, outside in itertools.product(range(NUM_DRAWS), (False, True) if has_outside else (False,)):
        sample = solver.sample(np.random.default_rng(seed), outside)
        if missing := sorted(scalars.keys() - sample.keys()):
            yield f"sample returns no {', '.join(missing)}, which the spec has as parameters"
            return
        names_outside = []
        for name, value in sample.items():
            if name in scalars:
                if type(value) is not float:
                    yield f"sample returns {name} of the type {type(value).__name__}, not a float"
                    return
                if not scalars[name].low <= value <= scalars[name].high:
                    names_outside.append(name)
            elif getattr(value, "dtype", None) != np.float64:
                yield f"sample returns {name} of the type {type(value).__name__}, not a float64 array"
                return
            elif shapes.setdefault(name, value.shape) != value.shape:
                yield f"sample returns {name} of the shapes {shapes[name]} and {value.shape}. One is allowed"
                return
        if sample.keys() != shapes.keys() | scalars.keys():
            yield f"sample returns different names in different draws: {', '.join(sorted(sample))}"
        if names_outside and not outside:
            yield f"sample draws {', '.join(names_outside)} outside of the range in the spec"
            return
        if outside and not names_outside:
            yield "sample(rng, outside=True) draws every parameter inside of its range"
            return


def seeds(solver: Solver) -> Iterator[str]:
    """Check that the generator alone determines the parameters, and that its seeds give other parameters."""
    draws: list[list[Parameters]] = []
    for order in ((0, 1, 2), (2, 1, 0)):
        np.random.seed(len(draws))  # noqa: NPY002 - the state of the old global generator must not matter
        by_seed = {seed: solver.sample(np.random.default_rng([7, seed])) for seed in order}
        draws.append([by_seed[seed] for seed in range(3)])
    for first, repeated in zip(*draws, strict=True):
        for name in first:
            if not np.array_equal(first[name], repeated[name]):
                yield (
                    f"sample returns another {name} for an equal generator. Draw all random numbers from the "
                    "generator rng, and keep no state between calls"
                )
                return
    constant_names = {
        parameter.name for parameter in solver.spec.parameters if parameter.low == parameter.high
    }
    for first, second in itertools.pairwise(draws[0]):
        for name in first.keys() - constant_names:
            if np.array_equal(first[name], second[name]):
                yield f"sample returns the same {name} for different generators"
                return


def _quantity_mistakes(spec: Spec) -> Iterator[str]:
    """Yield a sentence for each mistake in the fields, parameters and invariants."""
    quantities = (*spec.fields, *spec.coefficient_fields, *spec.parameters, *spec.invariants)
    names = [quantity.name for quantity in quantities] + [axis.name for axis in spec.axes] + ["t"]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"the spec has the name {name} twice (t is the time)"
    for quantity in quantities:
        if not quantity.name.isidentifier() or quantity.name != quantity.name.lower():
            yield f"the name {quantity.name!r} in the spec is not of lower-case letters, digits and _"
        if not quantity.unit or not quantity.description:
            yield f"{quantity.name} has no {'description' if quantity.unit else 'unit'} (1: no unit)"
    for parameter in spec.parameters:
        if not parameter.low <= parameter.high:
            yield f"the range of {parameter.name} is [{parameter.low:g}, {parameter.high:g}]: low comes first"


def _site_mistakes(solver: Solver) -> Iterator[str]:
    """Yield a sentence for each mistake in the axes, the particles and the block."""
    spec = solver.spec
    for axis in spec.axes:
        if axis.boundary not in get_args(Boundary):
            allowed = ", ".join(get_args(Boundary))
            yield f"axis {axis.name} has the boundary {axis.boundary!r}, none of {allowed}"
        if not axis.lower < axis.upper:
            yield f"axis {axis.name} ends at {axis.upper:g}, before its start {axis.lower:g}"
    if solver.communicator.size == 1 and solver.block != tuple(slice(0, axis.size) for axis in spec.axes):
        yield f"block is {solver.block} on one rank. One rank holds all sites, {spec.shape}"
    if spec.has_particles:
        fields = [(field.name, field.tensor_order) for field in spec.fields]
        if fields != [("position", 1), ("velocity", 1)]:
            yield f"particles have the fields {fields}, not the vector fields position and velocity"
        if [field.name for field in spec.coefficient_fields] != ["mass"]:
            yield "particles need the coefficient field mass"
