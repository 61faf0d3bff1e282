"""The inputs that a predicted value depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipeline.plots.labels import label
from pipeline.plots.panels import draw_grid
from simsurrogate.spec import Axis

_COLOUR, _GREY = "#0072b2", "#777777"
_MAP_TITLES = ("input", "gradient", "gradient, shuffled weights", "integrated gradient")


def draw_shares(shares: Mapping[str, float], mode_shares: np.ndarray | None) -> Figure:
    """Draw the share of each input, and of the Fourier modes by their size if there are any."""
    figure = Figure(
        figsize=(9 if mode_shares is not None else 5, 0.32 * len(shares) + 1.4), layout="constrained"
    )
    panels = figure.subplots(1, 1 if mode_shares is None else 2, squeeze=False)[0]
    names = [name.replace("_", " ") for name in shares]
    panels[0].barh(names, [100 * share for share in shares.values()], color=_COLOUR)
    panels[0].invert_yaxis()
    panels[0].set_xlabel("share of the attribution (%)")
    if mode_shares is not None:
        panels[1].bar(np.arange(len(mode_shares)), 100 * mode_shares, color=_COLOUR)
        panels[1].set(xlabel="size of the Fourier mode", ylabel="share of the output (%)", yscale="log")
    for panel in panels:
        draw_grid(panel)
    return figure


def draw_maps(
    maps: Sequence[Mapping[str, np.ndarray]],
    sensitivities: Sequence[Mapping[str, np.ndarray]],
    axes: Sequence[Axis],
    site: Sequence[int],
    units: Mapping[str, str],
) -> Figure:
    """Draw each input field with an influence on the value, and the change of the output by parameters.

    Args:
        maps: the inputs, the gradients, the gradients with shuffled weights and the integrated gradients by
            name, each (*sites); a row for each.
        sensitivities: the change of the output field for a change of each parameter, (*sites), and the same
            with shuffled weights or nothing; four a row.
        axes: the axes of the grid.
        site: the index of the site of the predicted value, which is marked.
        units: the unit of each input.
    """
    names = [name for name in maps[0] if np.any(maps[1][name])]
    columns = len(maps)
    changes = [
        (f"change by {name.replace('_', ' ')}{suffix}", values[name])
        for name in sensitivities[0]
        for values, suffix in zip(sensitivities, ("", ", shuffled weights"), strict=True)
        if name in values
    ]
    rows = len(names) - (-len(changes) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.7 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for row, name in zip(panels, names, strict=False):
        for column, (panel, values) in enumerate(zip(row, maps, strict=True)):
            panel.set_title(
                label(name, units[name]) if column == 0 else _MAP_TITLES[column], fontsize="small"
            )
            _draw_map(figure, panel, values[name], axes, site, is_signed=column > 0)
    others = panels[len(names) :].ravel()
    for panel, (title, change) in zip(others, changes, strict=False):
        panel.set_title(title, fontsize="small")
        _draw_map(figure, panel, change, axes, site, is_signed=True)
    for panel in others[len(changes) :]:
        panel.set_axis_off()
    return figure


def _draw_map(
    figure: Figure,
    panel: Any,
    values: np.ndarray,
    axes: Sequence[Axis],
    site: Sequence[int],
    *,
    is_signed: bool,
) -> None:
    """Draw a line in 1-D, an image in 2-D, or in 3-D the slice of the site along the last axis."""
    place = [axis.centres[index] for axis, index in zip(axes, site, strict=True)]
    if len(axes) == 1:
        panel.plot(axes[0].centres, values, color=_COLOUR)
        panel.axvline(place[0], color=_GREY, linewidth=1, linestyle="--")
        panel.set_xlabel(label(axes[0].name, axes[0].unit))
        return
    image = values[..., site[-1]] if len(axes) > 2 else values
    extent = (axes[0].lower, axes[0].upper, axes[1].lower, axes[1].upper)
    limit = max(float(np.abs(image).max()), np.finfo(float).tiny)
    colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if is_signed else {"cmap": "viridis"}
    mappable = panel.imshow(image.T, origin="lower", extent=extent, **colours)
    panel.plot(*place[:2], marker="+", color="black", markersize=9)
    panel.set(xlabel=label(axes[0].name, axes[0].unit), ylabel=label(axes[1].name, axes[1].unit))
    figure.colorbar(mappable, ax=panel, shrink=0.85)
