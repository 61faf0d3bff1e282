"""Errors of several predictors with their intervals, on one axis."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.plots.panels import WIDTH, make_logarithmic

_COLOURS = {"surrogate": "#d55e00", "baseline": "#0072b2", "solver": "#009e73"}
_LEFT, _RIGHT, _TOP, _BOTTOM, _ROW = 1.6, 0.15, 0.1, 0.5, 0.36
_MAX_CHARACTERS = 22
#: A logarithmic axis that spans a smaller factor has hardly any ticks.
_FEW_TICKS = 5


@dataclass(frozen=True)
class ErrorInterval:
    """The error of one predictor.

    Attributes:
        name: the name of the predictor.
        kind: the colour of the row.
        error: the median error; None for an error that is not finite, which is not drawn.
        low: the lower end of its interval; None without an interval.
        high: the upper end; None without an interval, or for an infinite end.
    """

    name: str
    kind: Literal["surrogate", "baseline", "solver"]
    error: float | None
    low: float | None
    high: float | None


def draw(errors: Sequence[ErrorInterval], label: str) -> Figure:
    """Draw a row for each predictor, the first one on top, on an axis with a label.

    The axis is logarithmic if the errors differ by more than a factor of 5.
    """
    height = _TOP + _BOTTOM + _ROW * len(errors)
    figure = Figure(figsize=(WIDTH, height))
    panel = figure.add_axes(
        (
            _LEFT / WIDTH,
            _BOTTOM / height,
            (WIDTH - _LEFT - _RIGHT) / WIDTH,
            (height - _BOTTOM - _TOP) / height,
        )
    )
    for row, entry in enumerate(errors):
        colour = _COLOURS[entry.kind]
        if entry.error is None or not entry.error > 0:
            text = "no error" if entry.error == 0 else "not finite"
            panel.text(0.02, row, text, va="center", transform=panel.get_yaxis_transform(), fontsize="small")
            continue
        if entry.low is not None and entry.low > 0:
            high = entry.error if entry.high is None else entry.high
            panel.plot([entry.low, high], [row, row], color=colour, linewidth=3.5, alpha=0.45)
        panel.plot([entry.error], [row], marker="o", color=colour, markersize=6)
        if entry.kind == "surrogate":
            panel.axvline(entry.error, color=colour, linewidth=0.8, linestyle="--", zorder=0)
    names = [textwrap.fill(entry.name, _MAX_CHARACTERS) for entry in errors]
    panel.set_yticks(range(len(errors)), names, fontsize="small")
    panel.set_ylim(len(errors) - 0.5, -0.5)
    values = [
        value
        for entry in errors
        for value in (entry.error, entry.low, entry.high)
        if value is not None and value > 0
    ]
    if values and max(values) > _FEW_TICKS * min(values):
        make_logarithmic(panel, "x", is_percent=True)
    else:
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.xaxis.set_major_formatter(PercentFormatter(1.0, symbol="\N{NO-BREAK SPACE}%"))
    panel.tick_params(labelsize="small")
    panel.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.set_xlabel(label, fontsize="small")
    return figure
