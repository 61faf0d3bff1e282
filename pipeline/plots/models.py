"""Models next to each other: their errors, their times with their errors, and their ancestors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from pipeline.plots.panels import WIDTH, finish_times_and_errors, make_logarithmic, single_panel

#: A row of the figure of errors, inches.
_ROW_HEIGHT = 0.3
#: The longest name in a figure, characters.
_MAX_NAME = 28
#: The size of a box of a family tree, the space around it, and the space between the rows, inches.
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _GAP_ROWS = 2.0, 0.6, 0.2, 0.2, 0.9
_MODEL_COLOUR, _DATA_COLOUR = "#fbe3d6", "#dcebf5"


@dataclass(frozen=True)
class ModelPoint:
    """The error of a model: median and quantiles over the trajectories, and the error of persistence."""

    name: str
    median: float | None
    q10: float | None
    q90: float | None
    persistence: float | None


def draw_model_errors(points: Sequence[ModelPoint]) -> Figure:
    """Draw a row for each model: the median, the range from 10 to 90 %, and persistence."""
    figure, panel = single_panel(height=0.9 + _ROW_HEIGHT * len(points))
    for row, point in enumerate(points):
        if point.q10 and point.q90:
            panel.plot([point.q10, point.q90], [row, row], color="#d55e00", linewidth=2, alpha=0.5)
        if point.median:
            panel.plot([point.median], [row], "o", color="#d55e00", markersize=6)
        if point.persistence:
            panel.plot([point.persistence], [row], "|", color="#777777", markersize=12, markeredgewidth=2)
    make_logarithmic(panel, "x", is_percent=True)
    panel.set_yticks(np.arange(len(points)), [_short(point.name) for point in points], fontsize="small")
    panel.set_ylim(len(points) - 0.5, -0.5)
    panel.set_xlabel("relative L2 error at the end of the rollout")
    longest = max(len(_short(point.name)) for point in points)
    box = panel.get_position()
    # A character is about 0.075 inches wide.
    left = min(0.55, (0.25 + 0.075 * longest) / WIDTH)
    panel.set_position((left, box.y0, box.x1 - left, box.height))
    return figure


def draw_model_times(points: Sequence[tuple[str, float, float, float | None]]) -> Figure:
    """Draw each model at its time of a query and in a batch (s), and its error.

    Points to the left are faster, and points below are more accurate.
    """
    figure, panel = single_panel(height=2.9, legend_rows=-(-len(points) // 2))
    for index, (name, query, batch, error) in enumerate(points):
        if not error:
            continue
        colour = f"C{index % 10}"
        panel.plot([1e3 * query], [error], "*", color=colour, markersize=13, label=_short(name))
        panel.plot([1e3 * batch], [error], "D", color=colour, markersize=6)
        panel.plot([1e3 * batch, 1e3 * query], [error, error], color=colour, linewidth=1, alpha=0.5)
    finish_times_and_errors(figure, panel)
    return figure


def _short(name: str) -> str:
    """Return a name with its end if it is too long for a figure."""
    return name if len(name) <= _MAX_NAME else f"…{name[1 - _MAX_NAME :]}"


def draw_tree(texts: Mapping[str, str], arrows: Sequence[tuple[str, str]]) -> Figure:
    """Draw each text in a box, with arrows from an ancestor to its descendant.

    Data sets are in the upper row and models in the lower row, so an arrow between them crosses no box.

    Args:
        texts: the text of each box by its key, ancestors first. The text of a model starts with `model`.
        arrows: the keys of an ancestor and of its descendant.
    """
    x, places, was_model = _WIDTH / 2, dict[str, tuple[float, bool]](), None
    for key, text in texts.items():
        is_model = text.startswith("model")
        if was_model is not None:
            x += (_WIDTH + _GAP_X) / (1 if is_model == was_model else 2)
        places[key], was_model = (x, is_model), is_model
    width, height = x + _WIDTH / 2, 2 * (_HEIGHT + _GAP_Y) + _GAP_ROWS
    heights = {False: height - _GAP_Y - _HEIGHT / 2, True: _GAP_Y + _HEIGHT / 2}
    figure = Figure(figsize=(width, height))
    panel = figure.add_axes((0, 0, 1, 1))
    panel.set(xlim=(0, width), ylim=(0, height))
    panel.axis("off")
    for key, (centre, is_model) in places.items():
        colour = _MODEL_COLOUR if is_model else _DATA_COLOUR
        box = {"boxstyle": "round,pad=0.4", "facecolor": colour, "edgecolor": "#777777"}
        panel.text(
            centre, heights[is_model], texts[key], ha="center", va="center", fontsize="small", bbox=box
        )
    for ancestor, descendant in arrows:
        ends = [
            (places[key][0], heights[places[key][1]] + _HEIGHT / 2 * (1 if places[key][1] else -1))
            for key in (ancestor, descendant)
        ]
        # A model that starts from the weights of another one is in the same row.
        bend = "arc3,rad=-0.2" if places[ancestor][1] == places[descendant][1] else "arc3"
        arrow = {"arrowstyle": "->", "color": "#555555", "connectionstyle": bend}
        panel.annotate("", xy=ends[1], xytext=ends[0], arrowprops=arrow)
    return figure
