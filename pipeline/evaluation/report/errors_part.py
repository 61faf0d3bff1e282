"""The parts on errors over time: of the fields, of the invariants, and outside the training range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.evaluation.report.context import split_name
from pipeline.evaluation.report.data_error import below_data_error_sentences, error_text
from pipeline.evaluation.report.part import PartFigure, ReportPart
from pipeline.evaluation.words import verdict
from pipeline.plots.curves import draw_errors, draw_invariant
from pipeline.plots.saving import save

if TYPE_CHECKING:
    from pipeline.evaluation.report.context import ReportContext
    from pipeline.evaluation.schema import Mode

_MODES: dict[Mode, str] = {
    "rollout": "all frames from the initial state",
    "one_step": "each frame from the true frame before",
}


def errors_part(context: ReportContext, split: str) -> ReportPart:
    """Return the part with the errors of a split over time, with the error of the data as a band."""
    sentences = [verdict(context.metrics, split), *data_error_sentences(context, split)]
    if context.spec.coarsening:
        linear = " or its linear solution" if context.spec.coarsening.method == "cell_averages" else ""
        cells = " x ".join(map(str, context.spec.coarsening.cells))
        sentences.append(
            f"A cell of the data holds {cells} of the solver's cells. Such frames do not determine the "
            f"solver's invariants{linear}, so these are not compared."
        )
    is_first = split == context.first_split
    return ReportPart(
        "errors" if is_first else split,
        "Error over time" if is_first else f"Error {split_name(split)}",
        sentences=sentences,
        figures=[*_error_figures(context, split), *_invariant_figures(context, split)],
    )


def data_error_sentences(context: ReportContext, split: str) -> list[str]:
    """Return the sentences on the error of the data, and on errors of the surrogate below it."""
    errors = context.metrics.data_errors.get(split, {})
    if not errors:
        return [
            "The error of the data themselves is not known: neither the validation nor the solver states it."
        ]
    texts = {field: error_text(error, context.metrics.time) for field, error in errors.items()}
    if len(set(texts.values())) == 1:
        text = next(iter(texts.values()))
    else:
        text = ", ".join(f"{_words(field)} {text}" for field, text in texts.items())
    source = next(iter(errors.values())).source
    return [
        f"The error of the data themselves is {text}, {source}.",
        *below_data_error_sentences(context.metrics, split, context.metrics.data_errors),
    ]


def _error_figures(context: ReportContext, split: str) -> list[PartFigure]:
    """Return a figure of the errors of each field and mode."""
    metrics, result = context.metrics, context.metrics.splits[split]
    figures = []
    for field in metrics.fields:
        data_error = context.metrics.data_errors.get(split, {}).get(field)
        for mode, mode_text in _MODES.items():
            figure = draw_errors(
                {
                    predictor: errors[mode]["relative_l2"][field]
                    for predictor, errors in result.errors.items()
                },
                metrics.time[1:],
                {predictor: context.name_of(predictor) for predictor in result.errors},
                f"{_words(field)}: {mode.replace('_', ' ')}",
                (data_error.median[1:], data_error.worst[1:]) if data_error else None,
            )
            path = context.figure_folder / f"{split}-errors-{field}-{mode}.svg"
            caption = (
                f"Relative L2 error of {_words(field)} over time, {mode_text}: median (line) and 10 to 90 % "
                "of the trajectories (band)."
            )
            figures.append(PartFigure(save(figure, path), caption))
    return figures


def _invariant_figures(context: ReportContext, split: str) -> list[PartFigure]:
    """Return a figure of the error of each invariant."""
    result = context.metrics.splits[split]
    figures = []
    for quantity in context.spec.frame_invariants:
        figure = draw_invariant(result.invariants[quantity.name], context.metrics.time, quantity)
        path = context.figure_folder / f"{split}-invariant-{quantity.name}.svg"
        caption = (
            f"Distance between the {_words(quantity.name)} of predicted and true states over time: median "
            "(line) and 10 to 90 % of the trajectories (band); dashed: size in the truth."
        )
        figures.append(PartFigure(save(figure, path), caption))
    return figures


def _words(name: str) -> str:
    return name.replace("_", " ")
