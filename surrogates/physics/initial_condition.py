"""The initial fields and coefficients of a problem at any point, with their derivatives along the axes.

They do not depend on weights: what is here is computed once for a batch, and then is data.

Shape letters: M points, D their coordinates, K channels and then coefficient fields; N stands for the bodies
of particles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from surrogates.contract import Problem
from surrogates.networks.taylor_mode import Jet, Orders, derivative, known
from surrogates.physics import deepxde_adapter

_PREFIX = "start"
#: At which forces are compared, and the largest over the median: three bodies from rest have 20 000 without
#: softening and 43 with 0.1 m, two bodies of eccentricities up to 0.8 have 9.
_NUM_STARTS, _MOST_FORCE = 1024, 1000.0


def initial_condition(
    problem: Problem, inputs_MD: torch.Tensor, columns: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Channels at time 0 and coefficient fields by name, (M, *N), at points with coordinates `columns`."""
    assert problem.initial_condition is not None, "it is set together with the residual"
    at = dict(zip(columns, inputs_MD.unbind(-1), strict=True))
    coordinates = {} if problem.spec.has_particles else {name: at[name] for name in problem.spec.axis_names}
    found = problem.initial_condition(
        coordinates, {name: at[name] for name in problem.spec.parameter_names}, torch
    )
    shape = (len(inputs_MD), *(problem.spec.shape if problem.spec.has_particles else ()))
    names = (*problem.spec.channels, *problem.spec.coefficient_channels)
    return {name: torch.as_tensor(found[name]).to(inputs_MD).expand(shape) for name in names}


def unfit_start(problem: Problem) -> str | None:
    """What is wrong with the starts of bodies for a network that draws them from ranges; None if nothing is,
    or where the equation is not at hand.

    Forces, which are the residuals without the changes in time, are compared at random parameters.
    """
    if not problem.spec.has_particles or problem.residual is None:
        return None
    uniform = torch.rand(
        _NUM_STARTS,
        len(problem.spec.parameter_names),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
    )
    low, high = torch.tensor(problem.spec.parameter_ranges, dtype=torch.float64).view(-1, 2).T
    inputs_MD = low + (high - low) * uniform
    fields = initial_condition(problem, inputs_MD, problem.spec.parameter_names)
    scalars = dict(zip(problem.spec.parameter_names, inputs_MD.T[..., None], strict=True))
    time = torch.zeros(_NUM_STARTS, 1, dtype=torch.float64)
    found = problem.residual(fields | {"t": time}, derivative, scalars)
    # Bodies in one place have no number for a force.
    sizes = [left.abs().nan_to_num(nan=math.inf).amax(1) for left in found.values()]
    share = max([1.0, *(float(size.max() / size.median()) for size in sizes if size.median() > 0)])
    if share <= _MOST_FORCE:
        return None
    return (
        f"at some of the parameters the bodies start with {share:.0f} times the usual forces, and its points "
        "would see little else: set solver.softening (m), or ranges that keep the bodies apart"
    )


def start_derivatives(
    problem: Problem, inputs_MD: torch.Tensor, columns: Sequence[str], orders: Orders
) -> dict[str, torch.Tensor]:
    """The fields at start and those derivatives along axes that `orders` names, by reverse mode: `start`,
    `start_x`, `start_x_x` and so on, each (M, K, *N) and without gradient.
    """
    inputs_MD = inputs_MD.detach().requires_grad_()
    with torch.enable_grad():
        fields = list(initial_condition(problem, inputs_MD, columns).values())
        found = {_PREFIX: fields}
        derivative = deepxde_adapter.reverse_mode(inputs_MD, columns)
        for axis in orders.first:
            if axis != "t":
                slopes = [derivative(values, axis) for values in fields]
                found[f"{_PREFIX}_{axis}"] = slopes
                if axis in orders.second:
                    found[f"{_PREFIX}_{axis}_{axis}"] = [derivative(slope, axis) for slope in slopes]
    return {name: torch.stack(values, dim=1).detach() for name, values in found.items()}


def start_jets(problem: Problem, derivatives: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The fields by name as jets (M, *N), from what `start_derivatives` gives: constant in time."""
    names = (*problem.spec.channels, *problem.spec.coefficient_channels)
    jets = {}
    for place, name in enumerate(names):
        of = {
            tuple(key.split("_")[1:]): values[:, place]
            for key, values in derivatives.items()
            if key.split("_")[0] == _PREFIX
        }
        jets[name] = _constant_in_time(known(of))
    return jets


def _constant_in_time(jet: Jet) -> Jet:
    return Jet(jet.value, lambda axis: 0.0 if axis == "t" else jet.along(axis))
