"""The statistics of the training split, from the receipts, in The Well's keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import add
from typing import TypedDict

import yaml

from pipeline.data.format.layout import FieldKind, Header
from pipeline.data.manifest import STATISTICS_KINDS, Receipt, StatisticsKind
from pipeline.data.running_statistics import RunningStatistics

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


_ATTRIBUTE_NAMES = {"mean": "mean", "std": "std", "rms": "rms", "min": "minimum", "max": "maximum"}


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
    """Return the content of `stats.yaml`."""

    def field_values(attribute: str) -> ByField:
        fields = _values_by_field(header, "fields", split_statistics["fields"], attribute)
        return fields | _values_by_field(
            header, "coefficient_fields", split_statistics["coefficient_fields"], attribute
        )

    def change_values(attribute: str) -> ByField:
        return _values_by_field(header, "fields", split_statistics["changes"], attribute)

    parameters = split_statistics["parameters"]
    return {
        "mean": field_values("mean"),
        "mean_delta": change_values("mean"),
        "std": field_values("std"),
        "std_delta": change_values("std"),
        "rms": field_values("rms"),
        "rms_delta": change_values("rms"),
        "min": field_values("minimum"),
        "min_delta": change_values("minimum"),
        "max": field_values("maximum"),
        "max_delta": change_values("maximum"),
        "parameters": {
            name: {
                key: float(getattr(parameters, attribute)[index])
                for key, attribute in _ATTRIBUTE_NAMES.items()
            }
            for index, name in enumerate(header.spec.parameter_names)
        },
    }


def to_yaml(stats: TrainingStatistics) -> str:
    """Return the text of `stats.yaml`; floats survive a round trip exactly."""
    return yaml.safe_dump(dict(stats), sort_keys=False)


def _values_by_field(
    header: Header, kind: FieldKind, statistics: RunningStatistics, attribute: str
) -> ByField:
    """Return an attribute of the statistics by field."""
    values = getattr(statistics, attribute)
    by_field: ByField = {}
    channel = 0
    for field in header.fields(kind):
        num_components = len(header.spec.components(field))
        components = values[channel : channel + num_components].tolist()
        by_field[field.name] = components if field.tensor_order else components[0]
        channel += num_components
    return by_field
