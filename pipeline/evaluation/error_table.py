"""The table of the errors of the surrogate and of all baselines for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from pipeline.evaluation import words
from pipeline.evaluation.report.worth_section import front_rows

if TYPE_CHECKING:
    from pipeline.evaluation.schema import Metrics


def error_table(metrics: Metrics) -> Table:
    """Return the median errors by split and predictor, with the intervals at the end of the rollout.

    The solver's cheaper settings are in the table of the split `test`, if they were measured for the worth.
    """
    table = Table(title="Relative L2 error, median over the trajectories")
    for column in ("split", "predictor", "one step", "end of rollout", "95 % interval"):
        table.add_column(column, justify="left" if column in ("split", "predictor") else "right")
    for split, result in metrics.splits.items():
        for predictor, headline in result.headline.items():
            interval = headline.rollout_end_interval
            table.add_row(
                split,
                words.predictor_name(predictor, metrics.surrogate),
                words.percent(headline.one_step.median),
                words.end_percent(result, headline.rollout_end.median),
                "" if interval is None or result.vanished_fields else words.interval_text(interval),
            )
        if split == "test" and metrics.worth is not None:
            for name, error, *_ in front_rows(metrics.worth):
                table.add_row(split, name, "", error, "")
        table.add_section()
    return table
