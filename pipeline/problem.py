"""The `Problem` of a surrogate, from a data set or from the configuration of a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.config.solver_of_data import solver_of_data
from pipeline.config.unused_options import Options
from pipeline.data.dataset import Dataset
from pipeline.data.round_off import are_equal
from simsurrogate.errors import UserError
from simsurrogate.spec import Field, Spec
from solvers.contract import Solver
from surrogates.contract import Problem, Surrogate
from surrogates.training_range import Statistics

# Model and data set must agree in these properties. Other ranges and durations are allowed.
_COMPARED_PROPERTIES = (
    "name",
    "channels",
    "channel_units",
    "coefficient_channels",
    "parameter_names",
    "axis_names",
    "shape",
    "lower",
    "extent",
    "boundaries",
    "boundary_values",
    "autonomous",
    "deterministic",
    "coarsening",
)


def mismatches(model: Problem, data: Problem, *, is_other_grid: bool = False) -> list[str]:
    """Return the properties in which the problem of a model differs from that of a data set, in words.

    On another grid than that of the training data, the map from the solver's grid may differ too.
    """
    pairs = {
        name: (getattr(model.spec, name), getattr(data.spec, name))
        for name in _COMPARED_PROPERTIES
        if not (is_other_grid and name == "coarsening")
    }
    pairs["time_step"] = (model.time_step, data.time_step)
    return [
        f"{name}: the model has {model_value!r}, the data set {data_value!r}"
        for name, (model_value, data_value) in pairs.items()
        if not are_equal(model_value, data_value)
    ]


def problem_of(dataset: Dataset) -> Problem:
    """Return the problem that a data set's spec, times and training statistics define."""
    return _problem(dataset.spec, dataset.times, dataset.statistics)


def problem_for(dataset: Dataset, surrogate: type[Surrogate], solver: Options) -> Problem:
    """Return the problem of a data set, with the solver's physics if the surrogate needs the physics.

    The physics is also added if the surrogate is incompatible with the data, because the error message lists
    all compatible surrogates. `solver` is the section of the settings, which may name a user's file.
    """
    problem = problem_of(dataset)
    if not surrogate.physics_informed and surrogate.incompatibility(problem) is None:
        return problem
    # Imported here because the import starts MPI, and training under srun works without MPI.
    from mpi4py import MPI

    recorded_solver = solver_of_data(
        dataset.configuration, dataset.spec, solver, MPI.COMM_SELF, has_trajectories=False
    )
    if recorded_solver is None:
        if surrogate.physics_informed:
            raise UserError(
                f"{surrogate.__name__} needs the equation of a solver, and the data set in {dataset.folder} "
                "was adopted from files without a solver. Type solver=NAME with the options of the solver "
                "that computed the data, or another surrogate="
            )
        return problem
    return with_physics(problem, recorded_solver)


def with_physics(problem: Problem, solver: Solver) -> Problem:
    """Return the problem with the solver's equation and initial condition, for a PINN."""
    return dataclasses.replace(problem, residual=solver.residual, initial_condition=solver.initial_condition)


def expected_problem(spec: Spec, times: np.ndarray) -> Problem:
    """Return the problem of a data set that is not generated yet, with means 0 and standard deviations 1."""
    zeros = {
        field.name: np.zeros(len(spec.components(field)))
        for field in (*spec.fields, *spec.coefficient_fields)
    }
    unit_values = {name: values + 1 for name, values in zeros.items()}
    parameters = {name: {"mean": 0.0, "std": 1.0} for name in spec.parameter_names}
    statistics = {
        "mean": zeros,
        "std": unit_values,
        "std_delta": unit_values,
        "min": zeros,
        "max": unit_values,
        "parameters": parameters,
    }
    return _problem(spec, times, statistics)


def _problem(spec: Spec, times: np.ndarray, statistics: Mapping[str, Any]) -> Problem:
    parameters = statistics["parameters"]
    return Problem(
        spec=spec,
        statistics=Statistics(
            mean=_flat_values(statistics["mean"], spec.fields),
            std=_isotropic_values(statistics["std"], spec.fields),
            delta_std=_isotropic_values(statistics["std_delta"], spec.fields),
            coefficient_mean=_flat_values(statistics["mean"], spec.coefficient_fields),
            coefficient_std=_isotropic_values(statistics["std"], spec.coefficient_fields),
            parameter_mean=tuple(parameters[name]["mean"] for name in spec.parameter_names),
            parameter_std=tuple(parameters[name]["std"] for name in spec.parameter_names),
            channel_ranges=_ranges(statistics, spec.fields),
            coefficient_ranges=_ranges(statistics, spec.coefficient_fields),
        ),
        time_step=float(times[1] - times[0]),
        duration=float(times[-1] - times[0]),
    )


def _flat_values(values: Mapping[str, Any], fields: Sequence[Field]) -> tuple[float, ...]:
    """Return the values of all channels in the order of `fields`; a vector has one value per direction."""
    return tuple(float(value) for field in fields for value in np.ravel(values[field.name]))


def _ranges(statistics: Mapping[str, Any], fields: Sequence[Field]) -> tuple[tuple[float, float], ...]:
    """Return the smallest and the largest value of all channels."""
    lows, highs = (_flat_values(statistics[key], fields) for key in ("min", "max"))
    return tuple(zip(lows, highs, strict=True))


def _isotropic_values(values: Mapping[str, Any], fields: Sequence[Field]) -> tuple[float, ...]:
    """Return the standard deviations of all channels; all components of a vector have the same.

    The root mean square over the components does not change if the axes are turned, and a normalised vector
    keeps its direction.
    """
    return tuple(
        float(np.sqrt(np.mean(np.square(values[field.name]))) if field.tensor_order else std)
        for field in fields
        for std in np.ravel(values[field.name])
    )
