"""Coverage against probability, and expected against measured errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.plots.panels import draw_grid, legend_below, make_logarithmic, single_panel

_COLOURS = ("#0072b2", "#d55e00", "#009e73")
_GREY = "#777777"

#: Coverages and their standard errors by the probability of the interval; None where there is no interval.
CoverageCurve = Sequence[tuple[float, float | None, float | None]]


def draw_coverage(title: str, curves: Mapping[str, CoverageCurve]) -> Figure:
    """Draw the coverage against the probability of the intervals, with bars of two standard errors.

    Args:
        title: the title of the panel.
        curves: the curves by the name of the split.
    """
    figure, panel = single_panel(title, height=3.2, legend_rows=1 + len(curves))
    panel.plot([0, 100], [0, 100], color=_GREY, linewidth=1, linestyle="--", label="as promised")
    for colour, (split, curve) in zip(_COLOURS, curves.items(), strict=False):
        known = [(level, value, error or 0.0) for level, value, error in curve if value is not None]
        if known:
            level, value, error = 100 * np.array(known).T
            panel.errorbar(
                level, value, yerr=2 * error, color=colour, label=split, marker="o", capsize=3, linewidth=1.8
            )
    panel.set(
        xlabel="probability of the interval (%)", ylabel="truth inside (%)", xlim=(40, 102), ylim=(0, 103)
    )
    draw_grid(panel)
    legend_below(figure, panel, 1)
    return figure


def draw_errors_against_expected(points: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Draw measured against expected errors with logarithmic axes.

    Args:
        points: the expected and the measured relative errors, by the name of the split.
    """
    figure, panel = single_panel(height=3.4, legend_rows=1 + len(points))
    everything = []
    for colour, (split, (expected, measured)) in zip(_COLOURS, points.items(), strict=False):
        x, y = np.array(expected), np.array(measured)
        is_drawn = (x > 0) & (y > 0)
        panel.scatter(x[is_drawn], y[is_drawn], s=14, color=colour, alpha=0.7, label=split)
        everything += [*x[is_drawn], *y[is_drawn]]
    if everything:
        ends = [min(everything) / 1.3, max(everything) * 1.3]
        panel.plot(ends, ends, color=_GREY, linewidth=1, linestyle="--", label="equal")
    for name in ("x", "y"):
        make_logarithmic(panel, name, is_percent=True)
    panel.set(xlabel="expected relative error", ylabel="measured relative error")
    draw_grid(panel)
    legend_below(figure, panel, 1)
    return figure
