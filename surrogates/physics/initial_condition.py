"""Initial fields and coefficient fields of a problem at any point, with their derivatives along the axes.

The values do not depend on the weights and are computed once for a batch.

Shape letters: M points, D their coordinates, K channels followed by coefficient fields; N stands for the
bodies of particles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from surrogates.contract import Problem
from surrogates.networks.taylor_mode import Jet, Orders, derivative, jet_of_derivatives
from surrogates.physics import deepxde_adapter

_PREFIX = "start"
#: The number of random initial states at which forces are compared.
_NUM_STATES = 1024
#: The largest accepted ratio of the largest force to the median force. Three bodies at rest have a ratio of
#: 20 000 without softening and of 43 with 0.1 m; two bodies of eccentricities up to 0.8 have a ratio of 9.
_MAX_FORCE_RATIO = 1000.0


def initial_condition(
    problem: Problem, inputs_MD: torch.Tensor, columns: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Return the channels at time 0 and the coefficient fields by name, each (M, *N).

    `columns` names the coordinates of the points `inputs_MD`.
    """
    assert problem.initial_condition is not None, "the train stage sets it together with the residual"
    named_inputs = dict(zip(columns, inputs_MD.unbind(-1), strict=True))
    axis_names = () if problem.spec.has_particles else problem.spec.axis_names
    fields = problem.initial_condition(
        {name: named_inputs[name] for name in axis_names},
        {name: named_inputs[name] for name in problem.spec.parameter_names},
        torch,
    )
    shape = (len(inputs_MD), *(problem.spec.shape if problem.spec.has_particles else ()))
    names = (*problem.spec.channels, *problem.spec.coefficient_channels)
    return {name: torch.as_tensor(fields[name]).to(inputs_MD).expand(shape) for name in names}


def initial_condition_incompatibility(problem: Problem) -> str | None:
    """Return why the forces at some initial states of particles are too large, or None.

    The forces, which are the residuals without the time derivatives, are compared at random parameters. A
    problem without a residual is not checked.
    """
    if not problem.spec.has_particles or problem.residual is None:
        return None
    unit_parameters = torch.rand(
        _NUM_STATES,
        len(problem.spec.parameter_names),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
    )
    low, high = torch.tensor(problem.spec.parameter_ranges, dtype=torch.float64).view(-1, 2).T
    inputs_MD = low + (high - low) * unit_parameters
    fields = initial_condition(problem, inputs_MD, problem.spec.parameter_names)
    scalars = dict(zip(problem.spec.parameter_names, inputs_MD.T[..., None], strict=True))
    time = torch.zeros(_NUM_STATES, 1, dtype=torch.float64)
    residuals = problem.residual(fields | {"t": time}, derivative, scalars)
    # The force between two bodies at the same place is NaN.
    forces = [residual.abs().nan_to_num(nan=math.inf).amax(1) for residual in residuals.values()]
    ratios = [float(force.max() / force.median()) for force in forces if force.median() > 0]
    ratio = max([1.0, *ratios])
    if ratio <= _MAX_FORCE_RATIO:
        return None
    return (
        f"at some parameters the bodies start with {ratio:.0f} times the usual forces, and up to "
        f"{_MAX_FORCE_RATIO:.0f} times can be learned. Set solver.softening (m), or choose parameter ranges "
        "that keep the bodies apart"
    )


def initial_derivatives(
    problem: Problem, inputs_MD: torch.Tensor, columns: Sequence[str], orders: Orders
) -> dict[str, torch.Tensor]:
    """Return the fields at time 0 and their derivatives of `orders` along the axes, by reverse mode.

    The keys are `start`, `start_x`, `start_x_x` and so on; each value is (M, K, *N) and has no gradient.
    """
    inputs_MD = inputs_MD.detach().requires_grad_()
    with torch.enable_grad():
        fields = list(initial_condition(problem, inputs_MD, columns).values())
        derivatives = {_PREFIX: fields}
        differentiate = deepxde_adapter.reverse_mode(inputs_MD, columns)
        for axis in orders.first:
            if axis != "t":
                first = [differentiate(field, axis) for field in fields]
                derivatives[f"{_PREFIX}_{axis}"] = first
                if axis in orders.second:
                    derivatives[f"{_PREFIX}_{axis}_{axis}"] = [
                        differentiate(values, axis) for values in first
                    ]
    return {name: torch.stack(values, dim=1).detach() for name, values in derivatives.items()}


def initial_jets(problem: Problem, derivatives: Mapping[str, torch.Tensor]) -> dict[str, Jet]:
    """Return the fields at time 0 by name as jets (M, *N), constant in time.

    `derivatives` is the result of `initial_derivatives`; other keys are ignored.
    """
    names = (*problem.spec.channels, *problem.spec.coefficient_channels)
    jets = {}
    for index, name in enumerate(names):
        derivatives_by_path = {
            tuple(key.split("_")[1:]): values[:, index]
            for key, values in derivatives.items()
            if key.split("_")[0] == _PREFIX
        }
        jets[name] = _constant_in_time(jet_of_derivatives(derivatives_by_path))
    return jets


def _constant_in_time(jet: Jet) -> Jet:
    return Jet(jet.value, lambda axis: 0.0 if axis == "t" else jet.along(axis))
