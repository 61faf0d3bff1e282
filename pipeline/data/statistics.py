"""The statistics of the training split, from the receipts, in The Well's keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import yaml
from typing_extensions import TypedDict  # pydantic reads it

from pipeline.data.format.layout import FieldKind, Header
from pipeline.data.manifest import STATISTICS_KINDS, Receipt, StatisticsKind
from pipeline.data.running_statistics import RunningStatistics
from simsurrogate.documents import read_yaml
from simsurrogate.errors import UserError
from simsurrogate.files import differences
from simsurrogate.round_off import nonrounding_std

REMEDY = "Run python -m pipeline.generate, then python -m pipeline.validate"

#: The value of each field by name: a number, or for a vector field a list of one number for each component.
ByField = dict[str, float | list[float]]


class TrainingStatistics(TypedDict):
    """The content of `stats.yaml`.

    `mean`, `std`, `rms`, `min` and `max` describe the fields and coefficient fields. The keys with `_delta`
    describe the fields' changes from frame to frame. `parameters` holds five values of each scalar parameter.
    """

    mean: ByField
    mean_delta: ByField
    std: ByField
    std_delta: ByField
    rms: ByField
    rms_delta: ByField
    min: ByField
    min_delta: ByField
    max: ByField
    max_delta: ByField
    parameters: dict[str, dict[str, float]]


def combined_statistics(receipts: Iterable[Receipt]) -> dict[StatisticsKind, RunningStatistics]:
    """Return the sum of the statistics in the receipts, in the order of the receipts."""
    shard_stats = [receipt.statistics for receipt in receipts if receipt.statistics]
    return {
        kind: reduce(add, (RunningStatistics.from_json(stats[kind]) for stats in shard_stats))
        for kind in STATISTICS_KINDS
        if shard_stats
    }


def training_statistics(
    header: Header, split_statistics: Mapping[StatisticsKind, RunningStatistics]
) -> TrainingStatistics:
    """Return the content of `stats.yaml`.

    A standard deviation below the round-off of the values counts as 0, see `nonrounding_std`.
    """
    fields, coefficients = split_statistics["fields"], split_statistics["coefficient_fields"]
    changes, parameters = split_statistics["changes"], split_statistics["parameters"]
    precision = header.precision
    field_std, coefficient_std, change_std, parameter_std = (
        nonrounding_std(stats.std, values.size, value_precision)
        for stats, values, value_precision in (
            (fields, fields, precision),
            (coefficients, coefficients, precision),
            # A change is a difference of two values and has their round-off.
            (changes, fields, precision),
            (parameters, parameters, "float64"),
        )
    )

    def by_field(of_fields: np.ndarray, of_coefficients: np.ndarray) -> ByField:
        return _values_by_field(header, "fields", of_fields) | _values_by_field(
            header, "coefficient_fields", of_coefficients
        )

    def change_by_field(values: np.ndarray) -> ByField:
        return _values_by_field(header, "fields", values)

    return {
        "mean": by_field(fields.mean, coefficients.mean),
        "mean_delta": change_by_field(changes.mean),
        "std": by_field(field_std, coefficient_std),
        "std_delta": change_by_field(change_std),
        "rms": by_field(fields.rms, coefficients.rms),
        "rms_delta": change_by_field(changes.rms),
        "min": by_field(fields.minimum, coefficients.minimum),
        "min_delta": change_by_field(changes.minimum),
        "max": by_field(fields.maximum, coefficients.maximum),
        "max_delta": change_by_field(changes.maximum),
        "parameters": {
            name: {
                "mean": float(parameters.mean[index]),
                "std": float(parameter_std[index]),
                "rms": float(parameters.rms[index]),
                "min": float(parameters.minimum[index]),
                "max": float(parameters.maximum[index]),
            }
            for index, name in enumerate(header.spec.parameter_names)
        },
    }


def read_statistics(path: Path, header: Header) -> TrainingStatistics:
    """Return the content of a file `stats.yaml`, with a value for every field, component and parameter.

    Raises:
        UserError: the file cannot be read, or its content does not fit the header.
    """
    stats = read_yaml(path, TrainingStatistics, REMEDY)
    expected = _shapes(training_statistics(header, _no_statistics(header)))
    if changed := differences(_shapes(stats), expected):
        raise UserError(
            f"{path} does not fit the spec in manifest.json (found -> expected): {changed[0]}. {REMEDY}"
        )
    return stats


def _no_statistics(header: Header) -> dict[StatisticsKind, RunningStatistics]:
    """Return the statistics of no values, for the names and the shapes in `stats.yaml`."""
    channels = len(header.channels("fields"))
    return {
        "fields": RunningStatistics.empty(channels),
        "changes": RunningStatistics.empty(channels),
        "coefficient_fields": RunningStatistics.empty(len(header.channels("coefficient_fields"))),
        "parameters": RunningStatistics.empty(len(header.spec.parameters)),
    }


def _shapes(values: object) -> object:
    """Return nested values with the length of each list, and 0 for each number."""
    if isinstance(values, Mapping):
        return {name: _shapes(value) for name, value in values.items()}
    return len(values) if isinstance(values, list) else 0


def to_yaml(stats: TrainingStatistics) -> str:
    """Return the text of `stats.yaml`; floats survive a round trip exactly."""
    return yaml.safe_dump(dict(stats), sort_keys=False)


def _values_by_field(header: Header, kind: FieldKind, values: np.ndarray) -> ByField:
    """Return the values of all channels (C,) by field."""
    by_field: ByField = {}
    channel = 0
    for field in header.fields(kind):
        num_components = len(header.spec.components(field))
        components = values[channel : channel + num_components].tolist()
        by_field[field.name] = components if field.tensor_order else components[0]
        channel += num_components
    return by_field
