"""The statistics of the training split, from the moments in the receipts, in The Well's keys."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any

import yaml

from pipeline.data.format.layout import FieldKind, Header
from pipeline.data.manifest import Receipt
from pipeline.data.running_statistics import RunningStatistics

_NAMES = {
    "mean": "mean",
    "std": "std",
    "rms": "rms",
    "min": "minimum",
    "max": "maximum",
}


def combined(receipts: Iterable[Receipt]) -> dict[str, RunningStatistics]:
    """The moments of `fields`, `changes` (from frame to frame), `coefficients` and `parameters`, added
    up in the order of the receipts.
    """
    parts = [receipt.moments for receipt in receipts if receipt.moments]
    return {
        kind: reduce(add, (RunningStatistics.from_json(part[kind]) for part in parts))
        for kind in ("fields", "changes", "coefficient_fields", "parameters")
        if parts
    }


def statistics(header: Header, moments: dict[str, RunningStatistics]) -> dict[str, Any]:
    """`mean`, `std`, `rms`, `min` and `max` of each field and coefficient, by name, a vector as a list;
    the same with `_delta` of the fields' changes from frame to frame; under `parameters` the same of
    each scalar parameter.
    """
    found: dict[str, Any] = {}
    for key, name in _NAMES.items():
        found[key] = _by_field(header, "fields", moments["fields"], name)
        found[key] |= _by_field(header, "coefficient_fields", moments["coefficient_fields"], name)
        found[f"{key}_delta"] = _by_field(header, "fields", moments["changes"], name)
    found["parameters"] = {
        parameter: {key: float(getattr(moments["parameters"], name)[place]) for key, name in _NAMES.items()}
        for place, parameter in enumerate(header.spec.parameter_names)
    }
    return found


def to_yaml(found: dict[str, Any]) -> str:
    """The text of `stats.yaml`; floats survive a round trip exactly."""
    return yaml.safe_dump(found, sort_keys=False)


def _by_field(header: Header, kind: FieldKind, moments: RunningStatistics, name: str) -> dict[str, Any]:
    values = getattr(moments, name)
    found: dict[str, Any] = {}
    channel = 0
    for field in header.fields(kind):
        width = len(header.spec.components(field))
        part = values[channel : channel + width].tolist()
        found[field.name] = part if field.tensor_order else part[0]
        channel += width
    return found
