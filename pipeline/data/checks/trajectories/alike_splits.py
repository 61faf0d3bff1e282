"""The comparison of the training split with all splits that are drawn from the same distribution.

An evaluation on another distribution than that of the training measures something else than it says. Every
scalar parameter and every measure of a field is compared by the test of Kolmogorov and Smirnov. The least
probability times the number of comparisons is compared with `FALSE_ALARMS` (Bonferroni): data whose splits
are drawn from one distribution give a warning in at most one of 1000 data sets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.data.checks.result import CheckResult
from pipeline.data.checks.trajectories.measured import Measure
from pipeline.data.checks.trajectories.row_table import RowTable
from pipeline.data.checks.trajectories.two_samples import kolmogorov_smirnov
from pipeline.data.plan import SPLITS

#: The largest probability of a warning for splits of one distribution.
FALSE_ALARMS = 1e-3


def result(
    subject: str, table: RowTable, measures: Sequence[Measure], parameter_names: Sequence[str]
) -> CheckResult:
    """Return the result of `alike_splits`."""
    samples = [(name, table.parameters[:, column]) for column, name in enumerate(parameter_names)]
    is_inside = table.split != SPLITS.index("test_extrapolation")
    samples += [(measure.words, measure.values) for measure in measures if measure.varies(is_inside)]
    rows = {split: table.split == SPLITS.index(split) for split in SPLITS}
    others = [split for split in SPLITS if split not in {"train", "test_extrapolation"} and rows[split].any()]
    comparisons = [
        (*kolmogorov_smirnov(values[rows["train"]], values[rows[split]])[::-1], name, split)
        for split in others
        for name, values in samples
        if rows["train"].any() and np.ptp(values) > 0
    ]
    if not comparisons:
        reason = "there are no two splits with numbers that vary between trajectories"
        return CheckResult("alike_splits", subject, "not applicable", reason)
    probability, distance, name, split = min(comparisons)
    least = min(probability * len(comparisons), 1.0)
    numbers = {
        "comparisons": float(len(comparisons)),
        "probability": least,
        "distance": distance,
        "false_alarm_rate": FALSE_ALARMS,
    }
    if least > FALSE_ALARMS:
        return CheckResult("alike_splits", subject, "passed", numbers=numbers)
    message = (
        f"{name} has another distribution in {split} than in train: the distribution functions differ by "
        f"{distance:.2g}, which has the probability {least:.1g} by chance. Splits should have the same "
        "distribution. Assign trajectories to splits at random"
    )
    return CheckResult("alike_splits", subject, "warning", message, numbers)
