"""The statistics of the training split, from the receipts, in The Well's keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import NotRequired

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
    `predictable_time` (s) is there if the spec is `chaotic`.
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
    predictable_time: NotRequired[dict[str, float]]


def _combined_statistics(receipts: Iterable[Receipt]) -> dict[StatisticsKind, RunningStatistics]:
    """Return the sum of the statistics in the receipts, in the order of the receipts."""
    shard_stats = [receipt.statistics for receipt in receipts if receipt.statistics]
    return {
        kind: reduce(add, (RunningStatistics.from_json(stats[kind]) for stats in shard_stats))
        for kind in STATISTICS_KINDS
        if shard_stats
    }


def statistics_of(header: Header, receipts: Sequence[Receipt]) -> TrainingStatistics:
    """Return the content of `stats.yaml` from the receipts of all shards."""
    times = [time for receipt in receipts if receipt.split == "train" for time in receipt.predictable_times]
    return _training_statistics(
        header, _combined_statistics(receipts), RunningStatistics.of(np.array([times]))
    )


def _training_statistics(
    header: Header,
    split_statistics: Mapping[StatisticsKind, RunningStatistics],
    predictable_times: RunningStatistics,
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

    stats: TrainingStatistics = {
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
            name: _five_values(parameters, parameter_std, index)
            for index, name in enumerate(header.spec.parameter_names)
        },
    }
    if header.spec.chaotic:
        stats["predictable_time"] = _five_values(predictable_times, predictable_times.std, 0)
    return stats


def _five_values(stats: RunningStatistics, std: np.ndarray, index: int) -> dict[str, float]:
    """Return five values of one scalar; `std` is the standard deviation without round-off."""
    return {
        "mean": float(stats.mean[index]),
        "std": float(std[index]),
        "rms": float(stats.rms[index]),
        "min": float(stats.minimum[index]),
        "max": float(stats.maximum[index]),
    }


def read_statistics(path: Path, header: Header) -> TrainingStatistics:
    """Return the content of a file `stats.yaml`, with a value for every field, component and parameter.

    Raises:
        UserError: the file cannot be read, or its content does not fit the header.
    """
    stats = read_yaml(path, TrainingStatistics, REMEDY)
    expected = _shapes(_training_statistics(header, _no_statistics(header), RunningStatistics.empty(1)))
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
