"""The report of an evaluation: its parts in order, as one page."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.evaluation.report.attribution_part import attribution_part
from pipeline.evaluation.report.baselines_part import baselines_part
from pipeline.evaluation.report.confidence_part import confidence_part
from pipeline.evaluation.report.context import ReportContext, split_name
from pipeline.evaluation.report.data_error import below_data_error_sentences
from pipeline.evaluation.report.errors_part import errors_part
from pipeline.evaluation.report.intervals_part import intervals_part
from pipeline.evaluation.report.metrics_part import metrics_part
from pipeline.evaluation.report.origin_part import (
    commands_part,
    definitions_part,
    origin_part,
    problem_part,
)
from pipeline.evaluation.report.page.page import Page, render_page
from pipeline.evaluation.report.parameters_part import parameters_part
from pipeline.evaluation.report.part import ReportPart
from pipeline.evaluation.report.spectra_part import spectra_part
from pipeline.evaluation.report.speed_part import speed_part
from pipeline.evaluation.report.tables_part import tables_part
from pipeline.evaluation.report.trajectories.example_part import cases_part, example_part
from pipeline.evaluation.report.trajectories.examples import examples
from pipeline.evaluation.report.trajectories.pictures import input_figures, line_figures
from pipeline.evaluation.report.verdict import verdict_of
from pipeline.evaluation.report.warnings import report_warnings
from pipeline.evaluation.report.worth_part import worth_part
from pipeline.runs import provenance


def render(context: ReportContext) -> str:
    """Draw the figures and return the report as HTML: a single file without other files or scripts."""
    verdict = verdict_of(context.metrics)
    remarks = below_data_error_sentences(context.metrics, context.first_split, context.metrics.data_errors)
    return render_page(
        Page(
            title=context.title,
            level=verdict.level,
            verdict=verdict.words,
            conclusion=" ".join([verdict.sentence, *remarks]),
            warnings=report_warnings(context.folder, context.surrogate, context.dataset, context.metrics),
            parts=parts(context),
            own_name=context.metrics.surrogate,
        )
    )


def parts(context: ReportContext) -> Sequence[ReportPart]:
    """Return the parts of the report in the order of reading; each function draws its own figures."""
    folder = context.folder
    data_run = folder.dataset.parent
    data_cost = provenance.cost_of(
        [*provenance.attempts(data_run, "generate"), *provenance.attempts(data_run, "validate")]
    )
    training_cost = provenance.cost_of(provenance.attempts(folder.path, "train", folder.model))
    first = context.first_split
    shown = examples(context, first)
    figures = line_figures(context, shown[0]) if shown else []
    others = [split for split in context.metrics.splits if split != first]
    ordered = [
        worth_part(context, data_cost, training_cost),
        example_part(context, shown[0], [*figures, *input_figures(context, shown[0])])
        if shown
        else ReportPart(
            "example", "Truth and prediction", ["No trajectory is drawn, because evaluation.figures is 0."]
        ),
        errors_part(context, first),
        baselines_part(context.metrics, first, context.figure_folder),
        intervals_part(context.metrics, context.figure_folder),
        spectra_part(context.metrics, first, context.figure_folder),
        metrics_part(context.metrics, first),
        parameters_part(context),
        cases_part(context, shown, "cases", "Best, median and worst cases", figures),
        *(errors_part(context, split) for split in others),
        *(
            cases_part(context, examples(context, split), f"{split}-cases", f"Cases {split_name(split)}")
            for split in others
        ),
        confidence_part(context.metrics, context.figure_folder),
        attribution_part(context.attribution, context.spec, context.figure_folder),
        tables_part(context),
        problem_part(context),
        origin_part(context, data_cost, training_cost),
        speed_part(context.metrics),
        commands_part(context),
        definitions_part(context),
    ]
    return [part for part in ordered if part is not None]
