"""Shards whose values differ from those of all other shards as if their unit were another one.

The trajectories of all shards are ordered by a measure, such as the logarithm of the size of a field. A
shard with another unit, or with another time axis, lies apart: a gap separates all its trajectories from
all others, and the gap is wider than the others' whole range. Of N independent trajectories, n given ones
lie at one end with probability 2 n! (N - n)! / N!. The check reports gaps whose probability, over all
measures, is below `FALSE_ALARMS`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.checks.result import CheckResult
from pipeline.data.checks.trajectories.measured import Measure
from pipeline.data.checks.trajectories.row_table import RowTable
from pipeline.data.plan import Shard

#: The expected number of false alarms in a data set of independent draws.
FALSE_ALARMS = 1e-3
#: Factors between units, with their words. Powers of ten are always units.
_FACTORS = {
    60.0: "minutes and seconds",
    3600.0: "hours and seconds",
    86400.0: "days and seconds",
    2 * math.pi: "cycles and radians",
    180 / math.pi: "degrees and radians",
}
#: The kelvin at 0 degrees Celsius.
_CELSIUS = 273.15
_TEMPERATURES = ("K", "degC", "°C", "kelvin", "celsius", "Celsius")
#: The largest distance to a factor between units, as a decimal logarithm.
_TOLERANCE = 0.05


@dataclass(frozen=True)
class Gap:
    """Some shards that a gap in a measure separates from all others.

    Attributes:
        measure: the measure.
        rows: whether each trajectory belongs to these shards (N,).
        width: the width of the gap divided by the range of the other trajectories.
        shift: the difference of the medians of these shards and of the others.
        standard_error: the standard error of the shift.
    """

    measure: Measure
    rows: np.ndarray
    width: float
    shift: float
    standard_error: float


def result(
    subject: str, table: RowTable, measures: Sequence[Measure], planned_shards: Sequence[Shard]
) -> CheckResult:
    """Return the result of `unlike_shards` over the shards of all splits inside the parameter ranges."""
    is_inside = np.array([not planned_shards[position].is_outside for position in table.shard], bool)
    shards = table.shard[is_inside]
    num_rows, num_shards = len(shards), len(np.unique(shards))
    if num_shards < 2:
        return CheckResult("unlike_shards", subject, "not applicable", "there is only one shard to compare")
    largest_shard = int(np.unique(shards, return_counts=True)[1].max())
    if _probability(largest_shard, num_rows) * max(len(measures), 1) > FALSE_ALARMS:
        reason = (
            f"{num_rows} trajectories in {num_shards} shards are too few: a gap between shards has a "
            f"probability above {FALSE_ALARMS:g} by chance"
        )
        return CheckResult("unlike_shards", subject, "not applicable", reason)
    gaps = [
        gap
        for measure in measures
        if measure.varies(is_inside)
        and (gap := _gap(measure, measure.values[is_inside], shards, len(measures))) is not None
    ]
    numbers = {"shards": float(num_shards), "trajectories": float(num_rows), "measures": float(len(measures))}
    if not gaps:
        return CheckResult("unlike_shards", subject, "passed", numbers=numbers)
    named = [(gap, unit) for gap in gaps if (unit := _unit_words(gap))]
    gap, unit = named[0] if named else (max(gaps, key=lambda item: item.width), "")
    numbers |= {"gap": gap.width, "shift": gap.shift}
    names = [planned_shards[position].name for position in np.unique(shards[gap.rows])]
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    values = _medians(gap, is_inside)
    apart, others = (gap.measure.text(value) for value in values)
    message = (
        f"{gap.measure.words} is {apart} in {listed}, and {others} in the other shards (medians), without "
        "values between"
    )
    if _separates_parameters(table.parameters[is_inside], gap.rows):
        message += ". A scalar parameter separates these shards, too, so the difference may be wanted"
        return CheckResult("unlike_shards", subject, "warning", message, numbers)
    if not unit:
        message += ". All shards should have the same distribution. Compare how these shards were made"
        return CheckResult("unlike_shards", subject, "warning", message, numbers)
    message += f": {unit}. All shards have to have the same units. Write these shards again"
    return CheckResult("unlike_shards", subject, "failed", message, numbers)


def _medians(gap: Gap, is_inside: np.ndarray) -> tuple[float, float]:
    """Return the medians of the measure in the shards apart, and in the others."""
    values = gap.measure.values[is_inside]
    return float(np.median(values[gap.rows])), float(np.median(values[~gap.rows]))


def _gap(measure: Measure, values: np.ndarray, shards: np.ndarray, num_measures: int) -> Gap | None:
    """Return the gap that separates whole shards from the majority, or None."""
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order])
    position = int(np.argmax(steps)) + 1
    is_low = np.zeros(len(values), bool)
    is_low[order[:position]] = True
    rows = is_low if position <= len(values) - position else ~is_low
    if np.intersect1d(shards[rows], shards[~rows]).size:
        return None
    others_range = float(np.ptp(values[~rows]))
    width = float(steps[position - 1]) / others_range if others_range else math.inf
    if width < 1 or _probability(int(rows.sum()), len(values)) * num_measures > FALSE_ALARMS:
        return None
    shift = float(np.median(values[rows]) - np.median(values[~rows]))
    # The standard error of a median of normal values is sqrt(pi / 2) times that of their mean.
    error = math.sqrt(math.pi / 2 * (1 / rows.sum() + 1 / (~rows).sum())) * float(np.std(values[~rows]))
    return Gap(measure, rows, min(width, 1e6), shift, error)


def _probability(count: int, total: int) -> float:
    """Return the probability that `count` given ones of `total` independent values lie at one end."""
    return 2 / math.comb(total, count)


def _unit_words(gap: Gap) -> str:
    """Return the units whose confusion explains the shift; empty if there are none."""
    shift, tolerance = abs(gap.shift), 3 * gap.standard_error
    if not gap.measure.is_logarithmic:
        is_celsius = gap.measure.unit in _TEMPERATURES and abs(shift - _CELSIUS) <= 5 + tolerance
        return "the difference is about 273.15, as between degrees Celsius and kelvin" if is_celsius else ""
    tolerance += _TOLERANCE
    power = round(shift)
    if power >= 1 and abs(shift - power) <= tolerance:
        return f"the factor is about 10^{power}, as between units with different prefixes"
    for factor, words in _FACTORS.items():
        if abs(shift - math.log10(factor)) <= tolerance:
            return f"the factor is about {factor:.4g}, as between {words}"
    return ""


def _separates_parameters(parameters: np.ndarray, rows: np.ndarray) -> bool:
    """Return whether a scalar parameter has no common range in both groups of trajectories."""
    for values in parameters.T:
        apart, others = values[rows], values[~rows]
        if apart.max() < others.min() or apart.min() > others.max():
            return True
    return False
