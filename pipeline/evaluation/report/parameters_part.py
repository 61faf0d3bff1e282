"""The part on the error against each scalar parameter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.report.context import split_name
from pipeline.evaluation.report.part import PartFigure, ReportPart
from pipeline.plots.lines import draw_parameter_errors
from pipeline.plots.saving import save

if TYPE_CHECKING:
    from pipeline.evaluation.report.context import ReportContext

#: The number of parameters with a figure: those whose ranks correlate most with the error.
_MAX_FIGURES = 6
#: With fewer trajectories there is no figure.
_MIN_POINTS = 4
#: With fewer trajectories, a correlation of ranks is not stated.
_MIN_TRAJECTORIES = 8
#: The normal quantile of a two-sided test at the level of 5 %; the standard error is 1 / sqrt(N - 1).
_SIGNIFICANT = 1.96


def parameters_part(context: ReportContext) -> ReportPart:
    """Return the part on the error at the end of the rollout against each parameter, or why there is none.

    The correlation is Spearman's: the correlation of the ranks of parameter and error on the first split.
    """
    parameters = context.spec.parameters
    title = "Error against the parameters"
    if not parameters:
        return ReportPart("parameters", title, ["The trajectories have no scalar parameters."])
    if context.result.trajectories < _MIN_POINTS:
        sentence = (
            f"The split {context.first_split} has fewer than the {_MIN_POINTS} trajectories of a figure."
        )
        return ReportPart("parameters", title, [sentence])
    values, errors = {}, {}
    for split, result in context.metrics.splits.items():
        values[split] = context.dataset.parameter_values(split)
        errors[split] = np.array(
            [np.inf if error is None else error for error in result.by_trajectory.rollout_end]
        )
    first = context.first_split
    correlations = [_rank_correlation(column, errors[first]) for column in values[first].T]
    order = np.argsort([-abs(value) for value in correlations], kind="stable")[:_MAX_FIGURES]
    figures = []
    for index in order:
        parameter = parameters[index]
        groups = {split_name(split): (values[split][:, index], errors[split]) for split in values}
        figure = draw_parameter_errors(parameter.name, parameter.unit, groups)
        path = context.figure_folder / f"parameter-{parameter.name}.svg"
        name = parameter.name.replace("_", " ")
        figures.append(PartFigure(save(figure, path), f"Error of each trajectory against {name}."))
    sentences = []
    if len(errors[first]) >= _MIN_TRAJECTORIES:
        correlation = correlations[order[0]]
        strongest = parameters[order[0]].name.replace("_", " ")
        text = f"{correlation:+.2f}".replace("-", "\N{MINUS SIGN}")
        if abs(correlation) * math.sqrt(len(errors[first]) - 1) > _SIGNIFICANT:
            sentences.append(f"The error depends most on {strongest}: the rank correlation is {text}.")
        else:
            sentences.append(
                "No parameter has a significant rank correlation with the error. The largest correlation is "
                f"that of {strongest}, {text}."
            )
    if len(parameters) > len(order):
        sentences.append(
            f"The figures show {len(order)} of {len(parameters)} parameters, those with the largest rank "
            "correlation."
        )
    return ReportPart("parameters", title, sentences=sentences, figures=figures)


def _rank_correlation(values: np.ndarray, errors: np.ndarray) -> float:
    """Return Spearman's rank correlation; 0 for constant values. Values of these data have no ties."""
    if len(values) < 2 or np.ptp(values) == 0:
        return 0.0
    ranks = [np.argsort(np.argsort(column, kind="stable"), kind="stable") for column in (values, errors)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
