"""Fields that are constant in space and time in some trajectories, and vary in all others."""

from __future__ import annotations

import numpy as np

from pipeline.data.checks.result import CheckResult
from pipeline.data.checks.trajectories.naming import name_of
from pipeline.data.checks.trajectories.row_table import RowTable, measure_names
from pipeline.data.format.layout import Header

#: Above this share of all trajectories, constant fields are a property of the problem.
_COMMON_SHARE = 0.5
#: The deviation of equal values, relative to their size.
_ROUND_OFF = 1e-12


def result(subject: str, table: RowTable, header: Header) -> CheckResult:
    """Return the result of `constant_fields`; see also `variation`."""
    names = measure_names(header)
    num_rows = len(table.index)
    found = []
    for column, (field, measure) in enumerate(names):
        if measure == "deviation":
            # The size is the measure before the deviation.
            sizes, deviations = table.measures[:, column - 1], table.measures[:, column]
            rows = np.flatnonzero(deviations <= _ROUND_OFF * sizes)
            if 0 < len(rows) <= _COMMON_SHARE * num_rows:
                found.append((field, rows))
    numbers = {"trajectories": float(num_rows), "found": float(sum(len(rows) for _, rows in found))}
    if not found:
        return CheckResult("constant_fields", subject, "passed", numbers=numbers)
    field, rows = found[0]
    message = (
        f"{field} is constant in {name_of(table.index[rows[0]])} (trajectories: {len(rows)} of {num_rows}), "
        "and varies in the others. Look at these trajectories"
    )
    return CheckResult("constant_fields", subject, "warning", message, numbers)
