"""Figures of one size with fixed margins, which are drawn once, and logarithmic axes without small ticks.

Matplotlib's constrained layout draws every figure twice and measures each text, which takes longer than the
drawing of these figures.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.plots.labels import rounded_text, superscript

#: Width of a figure that a phone shows at full size, inches.
WIDTH = 4.2
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.85, 0.12, 0.28, 0.48
#: The place of the label of the vertical axis, inches from the left edge: wide ticks do not push it out.
_LABEL = 0.18
_LEGEND_ROW = 0.2
#: With fewer decades, an axis also has ticks at 2 and 5.
_FEW_DECADES = 1.7


def single_panel(title: str = "", *, height: float = 2.8, legend_rows: int = 0) -> tuple[Figure, Axes]:
    """Return a figure with one panel, and space for rows of a legend below the panel."""
    figure = Figure(figsize=(WIDTH, height + _LEGEND_ROW * legend_rows))
    return figure, _add_panel(figure, title, _BOTTOM + _LEGEND_ROW * legend_rows, 1.0)


def two_panels(title: str = "", *, height: float = 3.5) -> tuple[Figure, Axes, Axes]:
    """Return a figure with a large panel above a small one, on one horizontal axis."""
    figure = Figure(figsize=(WIDTH, height))
    lower = _add_panel(figure, "", _BOTTOM, 0.3)
    upper = _add_panel(figure, title, _BOTTOM + 0.36 * (height - _BOTTOM - _TOP), 1.0)
    upper.sharex(lower)
    upper.tick_params(labelbottom=False)
    return figure, upper, lower


def _add_panel(figure: Figure, title: str, bottom: float, top_share: float) -> Axes:
    """Add a panel from `bottom` (inches) to a share of the height between the outer margins."""
    height = figure.get_figheight()
    top = _BOTTOM + top_share * (height - _BOTTOM - _TOP) if top_share < 1 else height - _TOP
    panel = figure.add_axes(
        (_LEFT / WIDTH, bottom / height, (WIDTH - _LEFT - _RIGHT) / WIDTH, (top - bottom) / height)
    )
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(_PlainFormatter())
    panel.tick_params(labelsize="small")
    panel.yaxis.set_label_coords((_LABEL - _LEFT) / (WIDTH - _LEFT - _RIGHT), 0.5)
    if title:
        panel.set_title(title, fontsize="medium")
    return panel


class _PlainFormatter(Formatter):
    """Plain numbers; very small and very large numbers share a power of ten at the end of the axis."""

    def __init__(self) -> None:
        self._exponent = 0

    def set_locs(self, locs: Any) -> None:
        """Choose the power of ten of all ticks."""
        largest = max((abs(value) for value in locs), default=0.0)
        exponent = math.floor(math.log10(largest)) if largest > 0 else 0
        self._exponent = 0 if -3 <= exponent < 4 else exponent

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the text of a tick."""
        return rounded_text(round(x / 10.0**self._exponent, 12))

    def get_offset(self) -> str:
        """Return the power of ten, such as `·10⁻⁵`."""
        return f"·10{superscript(self._exponent)}" if self._exponent else ""


def legend_below(figure: Figure, panel: Axes, columns: int) -> None:
    """Draw the legend of a panel at the lower edge of the figure."""
    figure.legend(
        *panel.get_legend_handles_labels(),
        loc="lower center",
        ncols=columns,
        fontsize="small",
        frameon=False,
        borderaxespad=0.1,
        labelspacing=0.25,
    )


def make_logarithmic(panel: Axes, name: Literal["x", "y"] = "y", *, is_percent: bool = False) -> None:
    """Make an axis of positive values logarithmic, with few ticks; with `is_percent` in per cent.

    A panel without data keeps its axis.
    """
    if not np.isfinite(panel.dataLim.get_points()).all():
        return
    (panel.set_xscale if name == "x" else panel.set_yscale)("log")
    axis: Axis = panel.xaxis if name == "x" else panel.yaxis
    low, high = axis.get_view_interval()
    decades = math.log10(high / low) if 0 < low < high else 1.0
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < _FEW_DECADES else (1.0,), numticks=7))
    axis.set_minor_locator(NullLocator())
    factor, sign = (100, "\N{NO-BREAK SPACE}%") if is_percent else (1, "")
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{rounded_text(factor * value)}{sign}"))


def finish_times_and_errors(figure: Figure, panel: Axes) -> None:
    """Label and scale a panel of errors over the time of a trajectory (ms), with its legend below."""
    make_logarithmic(panel, "x")
    make_logarithmic(panel, is_percent=True)
    panel.grid(color="#e5e5e5", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.set_xlabel("time of a trajectory on one thread (ms)")
    panel.set_ylabel("relative L2 error at the end")
    legend_below(figure, panel, 2)


def draw_grid(panel: Axes) -> None:
    """Draw pale horizontal lines behind the curves."""
    panel.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    panel.set_axisbelow(True)
