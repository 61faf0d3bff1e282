"""What a data set asks of a surrogate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.data.dataset import Dataset
from surrogates.contract import Problem, Statistics


def problem_of(dataset: Dataset) -> Problem:
    """The problem that a data set's spec, times and training statistics define."""
    spec, statistics = dataset.spec, dataset.statistics
    axes = spec["axes"]
    return Problem(
        equation=spec["name"],
        channels=dataset.channels,
        units=dataset.units,
        coefficients=dataset.coefficients,
        parameters=dataset.parameters,
        parameter_ranges=tuple((parameter["low"], parameter["high"]) for parameter in spec["parameters"]),
        axes=tuple(axis["name"] for axis in axes),
        sites=tuple(axis["size"] for axis in axes),
        extent=tuple(axis["upper"] - axis["lower"] for axis in axes),
        boundaries=tuple(axis["boundary"] for axis in axes),
        time_step=float(dataset.times[1] - dataset.times[0]),
        duration=float(dataset.times[-1] - dataset.times[0]),
        autonomous=spec["autonomous"],
        statistics=Statistics(
            mean=_flat(statistics["mean"], spec["fields"]),
            std=_flat(statistics["std"], spec["fields"]),
            delta_std=_flat(statistics["std_delta"], spec["fields"]),
            coefficient_mean=_flat(statistics["mean"], spec["coefficients"]),
            coefficient_std=_flat(statistics["std"], spec["coefficients"]),
            parameter_mean=tuple(statistics["parameters"][name]["mean"] for name in dataset.parameters),
            parameter_std=tuple(statistics["parameters"][name]["std"] for name in dataset.parameters),
        ),
    )


def _flat(values: Mapping[str, Any], named: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """One number a channel, in the order of `named`; a vector's value has one an axis."""
    return tuple(float(number) for each in named for number in np.ravel(values[each["name"]]))
