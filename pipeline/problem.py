"""What a data set asks of a surrogate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.data.dataset import Dataset
from pipeline.data.format.layout import channel_names
from solvers.contract import Solver
from surrogates.contract import Problem, Statistics


def problem_of(dataset: Dataset) -> Problem:
    """The problem that a data set's spec, times and training statistics define."""
    return _problem(dataset.spec, dataset.times, dataset.statistics)


def with_physics(problem: Problem, solver: Solver) -> Problem:
    """The problem with the solver's own equation and start, for surrogates that are physics-informed."""
    return dataclasses.replace(problem, residual=solver.residual, fields_at_start=solver.fields_at_start)


def expected_problem(spec: Mapping[str, Any], times: np.ndarray) -> Problem:
    """The problem of a data set that is still to be made: all but the statistics, which are 0 and 1."""
    named = [*spec["fields"], *spec["coefficients"]]
    zeros = {each["name"]: np.zeros(len(spec["axes"]) if each["order"] else 1) for each in named}
    ones = {name: values + 1 for name, values in zeros.items()}
    parameters = {each["name"]: {"mean": 0.0, "std": 1.0} for each in spec["parameters"]}
    statistics = {"mean": zeros, "std": ones, "std_delta": ones, "parameters": parameters}
    return _problem(spec, times, statistics)


def _problem(spec: Mapping[str, Any], times: np.ndarray, statistics: Mapping[str, Any]) -> Problem:
    axes, fields, coefficients = spec["axes"], spec["fields"], spec["coefficients"]
    parameters = tuple(parameter["name"] for parameter in spec["parameters"])
    names = [axis["name"] for axis in axes]
    return Problem(
        equation=spec["name"],
        channels=tuple(name for field in fields for name in channel_names(field, names)),
        units=tuple(field["unit"] for field in fields for _ in channel_names(field, names)),
        coefficients=tuple(name for field in coefficients for name in channel_names(field, names)),
        parameters=parameters,
        parameter_ranges=tuple((parameter["low"], parameter["high"]) for parameter in spec["parameters"]),
        axes=tuple(names),
        sites=tuple(axis["size"] for axis in axes),
        lower=tuple(axis["lower"] for axis in axes),
        extent=tuple(axis["upper"] - axis["lower"] for axis in axes),
        boundaries=tuple(axis["boundary"] for axis in axes),
        boundary_values=tuple((axis["boundary_values"][0], axis["boundary_values"][1]) for axis in axes),
        time_step=float(times[1] - times[0]),
        duration=float(times[-1] - times[0]),
        autonomous=spec["autonomous"],
        determined=spec["determined"],
        conserved=tuple(
            name for field in fields if field["conserved"] for name in channel_names(field, names)
        ),
        divergence_free=tuple(
            tuple(channel_names(field, names)) for field in fields if field["divergence_free"]
        ),
        statistics=Statistics(
            mean=_flat(statistics["mean"], fields),
            std=_flat(statistics["std"], fields),
            delta_std=_flat(statistics["std_delta"], fields),
            coefficient_mean=_flat(statistics["mean"], coefficients),
            coefficient_std=_flat(statistics["std"], coefficients),
            parameter_mean=tuple(statistics["parameters"][name]["mean"] for name in parameters),
            parameter_std=tuple(statistics["parameters"][name]["std"] for name in parameters),
        ),
        # Older data sets do not tell.
        compatible=spec.get("compatible", True),
        smooth=spec.get("smooth", True),
    )


def _flat(values: Mapping[str, Any], named: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """One number a channel, in the order of `named`; a vector's value has one an axis."""
    return tuple(float(number) for each in named for number in np.ravel(values[each["name"]]))
