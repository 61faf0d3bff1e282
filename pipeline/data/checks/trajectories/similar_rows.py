"""Trajectories, initial states and coefficient fields that are equal or nearly equal, by hashes and sketches.

A repeated initial state or coefficient field is a warning and no failure, because many studies vary the other
inputs on purpose. The evaluation then measures no generalisation to new initial states or new media.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.data.checks.result import CheckResult
from pipeline.data.checks.trajectories import equal_rows, near_rows
from pipeline.data.checks.trajectories.naming import name_of
from pipeline.data.checks.trajectories.near_rows import MIN_TRAJECTORIES, Pair
from pipeline.data.checks.trajectories.row_table import RowTable
from pipeline.data.format.layout import Header

#: Above this share of all trajectories, a repeated initial state or coefficient field belongs to the problem.
_COMMON_SHARE = 0.5


def results(subject: str, table: RowTable, header: Header) -> list[CheckResult]:
    """Return the results of `equal_rows`, `near_rows`, `initial_states` and `coefficient_fields`."""
    initial, coefficients = near_rows.sketch_columns(header)
    return [
        equal_rows.result(subject, table.index, table.hashes[:, 0]),
        _near_rows(subject, table),
        _repeated("initial_states", subject, table, table.hashes[:, 1], initial),
        _repeated("coefficient_fields", subject, table, table.hashes[:, 2], coefficients),
    ]


def _near_rows(subject: str, table: RowTable) -> CheckResult:
    """Return which trajectories are nearly equal; one of each group of equal ones counts."""
    rows = _distinct(table.hashes[:, 0])
    if len(rows) < MIN_TRAJECTORIES:
        return CheckResult("near_rows", subject, "not applicable", _too_few(len(rows)))
    pairs = near_rows.close_pairs(table.index[rows], table.sketches[rows])
    across = [pair for pair in pairs if not pair.is_in_one_split]
    within = [pair for pair in pairs if pair.is_in_one_split]
    numbers = {
        "trajectories": float(len(rows)),
        "pairs_across_splits": float(len(across)),
        "pairs_in_one_split": float(len(within)),
    }
    if across:
        message = (
            f"{_words(across[0])} (pairs: {len(across)}). Trajectories of different splits have to be "
            "independent. Leave out one trajectory of each pair"
        )
        return CheckResult("near_rows", subject, "failed", message, numbers)
    if within:
        message = (
            f"{_words(within[0])} (pairs in one split: {len(within)}). A model learns little from the second"
        )
        return CheckResult("near_rows", subject, "warning", message, numbers)
    return CheckResult("near_rows", subject, "passed", numbers=numbers)


def _distinct(hashes: np.ndarray) -> np.ndarray:
    """Return the first row of each hash (N,), ascending."""
    return np.sort(np.unique(hashes, return_index=True)[1])


def _words(pair: Pair, part: str = "") -> str:
    first, second = (f"{part}{name_of(index)}" for index in (pair.later, pair.earlier))
    return (
        f"{first} nearly equals {second}: their distance is {pair.ratio:.2g} of that to the next "
        "trajectory, closer than independent draws are"
    )


def _repeated(
    check: str, subject: str, table: RowTable, hashes: np.ndarray, columns: np.ndarray
) -> CheckResult:
    """Return which parts of trajectories are equal or nearly equal to those of other trajectories."""
    num_rows, part = len(table.index), check.replace("_", " ").removesuffix("s")
    if not len(columns):
        return CheckResult(check, subject, "not applicable", "the data have no coefficient fields")
    counts = np.unique(hashes, return_counts=True)[1]
    if num_rows > 1 and counts.max() > _COMMON_SHARE * num_rows:
        reason = f"{counts.max()} of {num_rows} trajectories have the same {part}"
        return CheckResult(check, subject, "not applicable", reason)
    equal = equal_rows.equal_pairs(table.index, hashes)
    across = equal[equal_rows.is_across(equal)]
    # The distances are those of different parts: one trajectory for each of them.
    once = _distinct(hashes)
    near = near_rows.close_pairs(table.index[once], table.sketches[once][:, columns])
    near_across = [pair for pair in near if not pair.is_in_one_split]
    numbers = {
        "trajectories": float(num_rows),
        "distinct": float(len(once)),
        "most_repeated": float(counts.max()),
        "equal_pairs_across_splits": float(len(across)),
        "near_pairs_across_splits": float(len(near_across)),
        "near_pairs_in_one_split": float(len(near) - len(near_across)),
    }
    message = _repetition(part, len(once), num_rows, across, near_across)
    if not message:
        return CheckResult(check, subject, "passed", numbers=numbers)
    return CheckResult(check, subject, "warning", message, numbers)


def _repetition(
    part: str, num_distinct: int, num_rows: int, across: np.ndarray, near_across: Sequence[Pair]
) -> str:
    """Return the message about parts that trajectories of different splits share; empty without any."""
    if len(across):
        later, earlier = across[0]
        return (
            f"{name_of(later)} has the {part} of {name_of(earlier)} ({num_distinct} different ones in "
            f"{num_rows} trajectories). The evaluation does not measure errors for a new {part}"
        )
    if near_across:
        return _words(near_across[0], f"the {part} of ")
    return ""


def _too_few(num_rows: int) -> str:
    return (
        f"{num_rows} trajectories are too few for a distribution of distances, which needs {MIN_TRAJECTORIES}"
    )
