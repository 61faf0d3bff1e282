"""Distributions over the trajectories of a data set: parameters in their box, splits, and shards.

Shape letters: N trajectories, P scalar parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.plots.labels import label
from simsurrogate.spec import Parameter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The colours of the splits in their order, which readers with colour blindness can tell apart (Okabe, Ito).
_COLOURS = ("#777777", "#0072b2", "#d55e00", "#009e73", "#cc79a7")
_COLUMNS = 3
_MAX_PANELS = 6


def colour_of(split_number: int) -> str:
    """Return the colour of a split."""
    return _COLOURS[split_number % len(_COLOURS)]


def draw_box(parameters: Sequence[Parameter], values: Mapping[str, np.ndarray]) -> Figure:
    """Draw the parameters (N, P) of each split and their ranges: in pairs, or a single one on a line."""
    pairs = list(combinations(range(len(parameters)), 2))[:_MAX_PANELS]
    if not pairs:
        return _draw_line(parameters[0], values)
    figure, panels = _panels(len(pairs))
    for panel, (column, row) in zip(panels, pairs, strict=False):
        x, y = parameters[column], parameters[row]
        corner, width, height = (x.low, y.low), x.high - x.low, y.high - y.low
        panel.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="0.6", linewidth=1))
        for number, (split, points) in enumerate(values.items()):
            panel.plot(
                points[:, column], points[:, row], ".", color=colour_of(number), markersize=3, label=split
            )
        panel.set_xlabel(label(x.name, x.unit))
        panel.set_ylabel(label(y.name, y.unit))
    _finish(figure, panels, len(pairs))
    return figure


def _draw_line(parameter: Parameter, values: Mapping[str, np.ndarray]) -> Figure:
    """Draw the values of one parameter, a line for each split."""
    figure = Figure(figsize=(6.4, 0.4 * len(values) + 1.2), layout="constrained")
    panel = figure.subplots()
    panel.axvspan(parameter.low, parameter.high, color="0.95")
    for number, (split, points) in enumerate(values.items()):
        height = np.full(len(points), -number)
        panel.plot(points[:, 0], height, "|", color=colour_of(number), markersize=10, label=split)
    panel.set_yticks(range(0, -len(values), -1), list(values))
    panel.set_xlabel(label(parameter.name, parameter.unit))
    panel.spines[["top", "right"]].set_visible(False)
    return figure


def draw_splits(quantities: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Draw the distribution functions of quantities in all splits; a panel for each quantity.

    Args:
        quantities: the values (N,) by split, by label of the quantity.
    """
    chosen = list(quantities.items())[:_MAX_PANELS]
    figure, panels = _panels(len(chosen))
    for panel, (text, values) in zip(panels, chosen, strict=False):
        for number, (split, numbers) in enumerate(values.items()):
            ordered = np.sort(numbers)
            ordered = np.concatenate([ordered[:1], ordered])
            shares = np.arange(len(ordered)) / (len(ordered) - 1)
            panel.step(ordered, shares, where="post", color=colour_of(number), linewidth=1.4, label=split)
        if _needs_decades(np.concatenate(list(values.values()))):
            panel.set_xscale("log")
        panel.set_xlabel(text)
        panel.set_ylabel("share of trajectories")
        panel.set_ylim(0, 1.02)
    _finish(figure, panels, len(chosen))
    return figure


def draw_shards(
    quantities: Mapping[str, np.ndarray], shards: np.ndarray, splits: np.ndarray, names: Sequence[str]
) -> Figure:
    """Draw the range and the median of quantities in each shard; a panel for each quantity.

    Args:
        quantities: the values (N,) by label of the quantity.
        shards: the number of each trajectory's shard (N,).
        splits: the number of each trajectory's split (N,).
        names: the names of the splits.
    """
    chosen = list(quantities.items())[:_MAX_PANELS]
    figure, panels = _panels(len(chosen))
    for panel, (text, values) in zip(panels, chosen, strict=False):
        for split in np.unique(splits):
            is_split = splits == split
            numbers = np.unique(shards[is_split])
            groups = [values[is_split & (shards == number)] for number in numbers]
            low, median, high = (
                np.array([function(group) for group in groups]) for function in (np.min, np.median, np.max)
            )
            colour = colour_of(int(split))
            panel.vlines(numbers, low, high, color=colour, linewidth=1.4)
            panel.plot(numbers, median, "o", color=colour, markersize=3, label=names[split])
        if _needs_decades(values):
            panel.set_yscale("log")
        panel.set_xlabel("shard")
        panel.set_ylabel(text)
    _finish(figure, panels, len(chosen))
    return figure


def _needs_decades(values: np.ndarray) -> bool:
    """Return whether values need a logarithmic axis: they are positive and span more than two decades."""
    return bool(values.min() > 0 and values.max() > 100 * values.min())


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with at least `count` panels."""
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.4 * columns + 0.4, 2.7 * rows + 0.5), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _finish(figure: Figure, panels: Sequence[Axes], count: int) -> None:
    """Add the legend, and hide the panels after the first `count`."""
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=max(len(labels), 1), frameon=False)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[count:]:
        panel.set_axis_off()
