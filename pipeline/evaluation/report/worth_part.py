"""The part on cost and worth: time and error of surrogate and solver, and the cost of data and training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.evaluation.report.part import PartFigure, PartTable, ReportPart
from pipeline.evaluation.report.worth_section import worth_section
from pipeline.plots.saving import save
from pipeline.plots.worth import draw_worth

if TYPE_CHECKING:
    from pipeline.evaluation.report.context import ReportContext
    from pipeline.runs.cost import Cost


def worth_part(context: ReportContext, data_cost: Cost, training_cost: Cost) -> ReportPart:
    """Return the part; without a comparison with the solver it holds the reason.

    Args:
        context: the evaluated model.
        data_cost: the cost of generating and validating the data.
        training_cost: the cost of the training.
    """
    worth, title = context.metrics.worth, "Cost and worth"
    cost = f"Cost: the data took {data_cost.text}, the training {training_cost.text}."
    if worth is None:
        return ReportPart("worth", title, sentences=[context.metrics.skipped["worth"], cost])
    section = worth_section(worth, context.metrics.surrogate, context.folder)
    *settings, _ = worth.settings
    times = worth.surrogate
    figure = draw_worth(
        [(setting.seconds, setting.error) for setting in settings],
        (times.query_seconds, times.error),
        (times.batch_seconds, times.error),
        times.batch_size,
        worth.settings[0].error,
    )
    caption = (
        f"Time and error of solver and surrogate on one thread of {worth.processor}: medians over "
        f"{len(worth.trajectories)} trajectories. Left is faster, below is more accurate. Errors are "
        f"relative to the reference, {worth.reference}."
    )
    return ReportPart(
        "worth",
        title,
        sentences=[section.verdict, cost],
        figures=[PartFigure(save(figure, context.figure_folder / "worth.svg"), caption)],
        tables=[
            PartTable(
                "All frames of a trajectory on one thread, medians. Settings of the solver that a faster "
                "setting beats in accuracy are left out; metrics.json has all settings",
                ("", "error of the last frame", "time of a query", "time in a batch"),
                section.rows,
            )
        ],
        code=section.command,
    )
