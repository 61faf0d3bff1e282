"""The checks that compare the trajectories of all shards, from a few numbers of each trajectory."""

from __future__ import annotations

from pipeline.data.checks import unit_names
from pipeline.data.checks.result import CheckResult
from pipeline.data.checks.trajectories import (
    alike_splits,
    constant_fields,
    outliers,
    overlaps,
    parameter_box,
    pauses,
    similar_rows,
    unlike_shards,
)
from pipeline.data.checks.trajectories.measured import measures_of
from pipeline.data.checks.trajectories.overlaps import Search
from pipeline.data.checks.trajectories.row_table import RowTable
from pipeline.data.manifest import Manifest
from pipeline.data.plan import SPLITS

#: The checks of `compared_rows`.
COMPARISONS = (
    "equal_rows",
    "near_rows",
    "initial_states",
    "coefficient_fields",
    "overlapping_windows",
    "truncated_times",
    "repeated_frames",
    "constant_fields",
    "unlike_shards",
    "outliers",
    "alike_splits",
    "parameter_box",
    "extrapolation",
)


def compared_rows(
    subject: str, manifest: Manifest, table: RowTable | None, search: Search | None
) -> list[CheckResult]:
    """Return the results of all checks that compare trajectories.

    Args:
        subject: the data set.
        manifest: its manifest.
        table: the trajectories of all shards that passed their own checks; None if there are none.
        search: the finished search for overlapping windows.
    """
    results = [unit_names.result(subject, manifest.spec)]
    if table is None or search is None:
        reason = "no shard passed its own checks"
        return results + [CheckResult(check, subject, "not applicable", reason) for check in COMPARISONS]
    header, spec = manifest.header, manifest.spec
    measures = measures_of(header, table)
    return [
        *results,
        *similar_rows.results(subject, table, header),
        overlaps.result(subject, search, header.times),
        *pauses.results(subject, table.index, table.pauses, header.times),
        constant_fields.result(subject, table, header),
        unlike_shards.result(subject, table, measures, manifest.planned_shards),
        outliers.result(subject, table, measures, SPLITS.index("test_extrapolation")),
        alike_splits.result(subject, table, measures, spec.parameter_names),
        *parameter_box.results(subject, table, spec.parameters),
    ]
