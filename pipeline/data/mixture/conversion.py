"""The conversion of values between the channels and units of two specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data import units
from pipeline.data.statistics import ByField, TrainingStatistics
from simsurrogate.errors import UserError
from simsurrogate.spec import Field, Quantity, Spec


@dataclass(frozen=True)
class Conversion:
    """The map from the channels of a data set to those of a spec: value = factor * value + offset.

    Attributes:
        source: the channel of the data set for each channel of the spec, -1 for a channel that it lacks (C,).
        factor: the factor of each channel of the spec (C,).
        offset: the offset of each channel of the spec, in its unit (C,).
        num_source: the number of channels of the data set.
    """

    source: np.ndarray
    factor: np.ndarray
    offset: np.ndarray
    num_source: int

    @property
    def _is_identity(self) -> bool:
        return (
            np.array_equal(self.source, np.arange(self.num_source))
            and bool((self.factor == 1).all())
            and not self.offset.any()
        )

    def __call__(self, values: np.ndarray, *, axis: int) -> np.ndarray:
        """Return values in the channels of the spec, which lie along `axis`; a missing value is NaN."""
        if self._is_identity:
            return values
        shape = (*values.shape[:axis], len(self.source), *values.shape[axis + 1 :])
        result = np.full(shape, np.nan, values.dtype)
        own_channels, channels = np.moveaxis(values, axis, 0), np.moveaxis(result, axis, 0)
        for channel, source in enumerate(self.source.tolist()):
            if source >= 0:
                factor, offset = float(self.factor[channel]), float(self.offset[channel])
                channels[channel] = factor * own_channels[source].astype(np.float64) + offset
        return result

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Return standard deviations (C,) in the units of the spec; 0 for a channel that is missing."""
        return np.array(
            [
                factor * values[source] if source >= 0 else 0.0
                for source, factor in zip(self.source.tolist(), self.factor.tolist(), strict=True)
            ]
        )


def conversion_of(
    spec: Spec,
    own: Spec,
    wanted: Sequence[Quantity],
    present: Sequence[Quantity],
    where: str,
    *,
    may_lack: bool,
) -> Conversion:
    """Return the conversion of fields, coefficient fields or parameters of a data set.

    Args:
        spec: the spec of the first data set.
        own: the spec of the data set.
        wanted: the quantities of `spec`.
        present: the same kind of quantities of `own`.
        where: the folder of the data set.
        may_lack: whether the data set may lack some of the quantities.

    Raises:
        UserError: the data set lacks a quantity, or has it with other components or a unit that cannot be
            converted.
    """
    first_channel: dict[str, int] = {}
    count = 0
    for quantity in present:
        first_channel[quantity.name] = count
        count += _num_components(own, quantity)
    by_name = {quantity.name: quantity for quantity in present}
    source, factors, offsets = [], [], []
    for quantity in wanted:
        components = _num_components(spec, quantity)
        own_quantity = by_name.get(quantity.name)
        if own_quantity is None:
            if not may_lack:
                raise UserError(
                    f"dataset: {where} has no {quantity.name}, which the first data set has. Only fields of "
                    "the state may be missing in a data set of a mixture. Remove it from the list"
                )
            source += [-1] * components
            factors += [1.0] * components
            offsets += [0.0] * components
            continue
        if _num_components(own, own_quantity) != components:
            raise UserError(
                f"dataset: {where} has {_num_components(own, own_quantity)} components of {quantity.name}, "
                f"and the first data set {components}. The components have to agree. Remove it from the list"
            )
        factor, offset = _unit_conversion(own_quantity, quantity, where)
        start = first_channel[quantity.name]
        source += range(start, start + components)
        factors += [factor] * components
        offsets += [offset] * components
    if may_lack and source and max(source) < 0:
        raise UserError(
            f"dataset: {where} has none of the fields {', '.join(item.name for item in wanted)} of the first "
            "data set. At least one is needed. Remove it from the list"
        )
    return Conversion(np.array(source, int), np.array(factors), np.array(offsets), count)


def converted_statistics(
    statistics: TrainingStatistics, spec: Spec, own: Spec, where: str
) -> TrainingStatistics:
    """Return the statistics of a data set for the quantities that it shares with a spec, in its units."""
    maps = {
        quantity.name: _unit_conversion(own_quantity, quantity, where)
        for quantity in (*spec.fields, *spec.coefficient_fields, *spec.parameters)
        for own_quantity in (*own.fields, *own.coefficient_fields, *own.parameters)
        if own_quantity.name == quantity.name
    }

    def by_field(key: str, *, has_offset: bool) -> ByField:
        values: Mapping[str, Any] = statistics[key]  # type: ignore[literal-required]
        return {
            name: (maps[name][0] * np.asarray(value) + maps[name][1] * has_offset).tolist()
            for name, value in values.items()
            if name in maps
        }

    converted: dict[str, Any] = {**statistics}
    for suffix in ("", "_delta"):
        for name in ("mean", "min", "max"):
            converted[name + suffix] = by_field(name + suffix, has_offset=not suffix)
        converted["std" + suffix] = by_field("std" + suffix, has_offset=False)
        mean, std = converted["mean" + suffix], converted["std" + suffix]
        converted["rms" + suffix] = {name: np.hypot(mean[name], std[name]).tolist() for name in mean}
    converted["parameters"] = {
        name: _converted_values(values, *maps[name])
        for name, values in statistics["parameters"].items()
        if name in maps
    }
    return converted  # type: ignore[return-value]


def _converted_values(values: Mapping[str, float], factor: float, offset: float) -> dict[str, float]:
    """Return five values of a scalar parameter in another unit."""
    converted = {name: factor * values[name] + offset for name in ("mean", "min", "max")}
    converted["std"] = factor * values["std"]
    converted["rms"] = float(np.hypot(converted["mean"], converted["std"]))
    return converted


def _unit_conversion(own: Quantity, wanted: Quantity, where: str) -> tuple[float, float]:
    """Return the factor and the offset from the unit of a data set to that of the first one.

    Raises:
        UserError: the units measure other things, or are unknown.
    """
    conversion = units.conversion(own.unit, wanted.unit)
    if conversion is None:
        raise UserError(
            f"dataset: {where} has {own.name} in {own.unit}, and the first data set in {wanted.unit}. Only "
            "units of the same kind are converted. Correct the unit, or remove the data set from the list"
        )
    return conversion


def _num_components(spec: Spec, quantity: Quantity) -> int:
    return len(spec.components(quantity)) if isinstance(quantity, Field) else 1
