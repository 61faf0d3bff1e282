"""Trajectories that lie far from all others in a measure of a field.

The trajectories are ordered by a measure, such as the logarithm of the largest value of a field. A few are
outliers if a gap separates them from all others that is three times wider than the others' whole range.
Of N independent values with an exponential tail, the largest one lies apart in this way with a probability of
about N^-3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.data.checks.result import CheckResult
from pipeline.data.checks.trajectories.measured import Measure
from pipeline.data.checks.trajectories.naming import name_of
from pipeline.data.checks.trajectories.near_rows import MIN_TRAJECTORIES
from pipeline.data.checks.trajectories.row_table import RowTable

#: The least width of a gap, divided by the range of the other trajectories.
_LEAST_WIDTH = 3.0
#: The largest share of outliers.
_LARGEST_SHARE = 0.05


def result(subject: str, table: RowTable, measures: Sequence[Measure], outside_split: int) -> CheckResult:
    """Return the result of `outliers`; the split `outside_split` is not compared with the others."""
    rows = np.flatnonzero(table.split != outside_split)
    numbers = {"trajectories": float(len(rows)), "measures": float(len(measures))}
    if len(rows) < MIN_TRAJECTORIES:
        reason = f"{len(rows)} trajectories are too few to say which is far from the rest: {MIN_TRAJECTORIES}"
        return CheckResult("outliers", subject, "not applicable", f"{reason} are needed")
    widest, message = 0.0, ""
    for measure in measures:
        if not measure.varies(rows):
            continue
        values = measure.values[rows]
        apart, width = _outliers(values)
        widest = max(widest, width)
        if width >= _LEAST_WIDTH and not message:
            others = np.setdiff1d(np.arange(len(rows)), apart)
            low, high = (measure.text(limit) for limit in (values[others].min(), values[others].max()))
            message = (
                f"{measure.words} is {measure.text(float(values[apart[0]]))} in "
                f"{name_of(table.index[rows[apart[0]]])}, and {low} to {high} in all others "
                f"(outliers: {len(apart)}). A trajectory far from all others dominates a training. Look at it"
            )
    numbers["widest_gap"] = widest
    return CheckResult("outliers", subject, "warning" if message else "passed", message, numbers)


def _outliers(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the rows beyond the widest gap at either end, and its width divided by the others' range."""
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order])
    count = max(int(_LARGEST_SHARE * len(values)), 1)
    ends = [
        (order[: int(np.argmax(steps[:count])) + 1], float(steps[:count].max())),
        (order[len(values) - count + int(np.argmax(steps[-count:])) :], float(steps[-count:].max())),
    ]
    apart, gap = max(ends, key=lambda end: end[1])
    others_range = float(np.ptp(np.delete(values, apart)))
    return apart, gap / others_range if others_range else np.inf
