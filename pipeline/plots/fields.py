"""The fields of one trajectory on a grid of one, two or three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from pipeline.plots.colour_bars import draw_colour_bar
from pipeline.plots.labels import label
from pipeline.plots.maps import Scale
from simsurrogate.spec import Spec

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(spec: Spec, times: np.ndarray, states: np.ndarray, coefficients: np.ndarray) -> Figure:
    """Draw one row of panels for each channel of `states` (T, C, *sites) at `times` (T,).

    The panels of the coefficient fields (K, *sites) follow below.
    """
    field_names, coefficient_names = spec.channels, spec.coefficient_channels
    if len(spec.shape) == 1:
        rows, columns = len(field_names) + len(coefficient_names), 1
    else:
        rows = len(field_names) + (len(coefficient_names) + len(times) - 1) // len(times)
        columns = len(times)
    figure = Figure(figsize=(2.9 * columns + 1.6, 2.7 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for channel, name in enumerate(field_names):
        titles = [f"{name.replace('_', ' ')}, t = {time:.3g} s" for time in times]
        quantity = (name, spec.channel_units[channel])
        _draw_row(figure, panels[channel], spec, states[:, channel], titles, quantity=quantity)
    lower_panels = list(panels[len(field_names) :].flat)
    coefficient_units = [field.unit for field in spec.coefficient_fields for _ in spec.components(field)]
    for index, quantity in enumerate(zip(coefficient_names, coefficient_units, strict=True)):
        titles = [quantity[0].replace("_", " ")]
        _draw_row(
            figure,
            lower_panels[index : index + 1],
            spec,
            coefficients[index][None],
            titles,
            quantity=quantity,
        )
    for unused_panel in lower_panels[len(coefficient_names) :]:
        unused_panel.set_axis_off()
    return figure


def _draw_row(
    figure: Any,
    panels: Sequence[Axes],
    spec: Spec,
    values: np.ndarray,
    titles: list[str],
    *,
    quantity: tuple[str, str],
) -> None:
    """Draw one channel at several times on one scale: lines in 1-D, images in 2-D, a middle slice in 3-D.

    `quantity` is the name and the unit of the channel.
    """
    axes = spec.axes
    if len(axes) == 1:
        for line, title in zip(values, titles, strict=True):
            panels[0].plot(axes[0].centres, line, label=title)
        panels[0].legend(fontsize="small")
        panels[0].set_xlabel(label(axes[0].name, axes[0].unit))
        panels[0].set_ylabel(label(*quantity))
        return
    if len(axes) > 2:
        titles = [f"{title}, middle of {axes[2].name}" for title in titles]
        values = values[..., values.shape[-1] // 2]
    extent = (axes[0].lower, axes[0].upper, axes[1].lower, axes[1].upper)
    scale = Scale.of(values)
    colours: dict[str, Any] = {"cmap": scale.colours, "vmin": scale.low, "vmax": scale.high}
    for panel, image, title in zip(panels, values, titles, strict=False):
        mappable = panel.imshow(image.T, origin="lower", extent=extent, **colours)
        panel.set_title(title, fontsize="small")
        panel.set_xlabel(label(axes[0].name, axes[0].unit))
        panel.set_ylabel(label(axes[1].name, axes[1].unit))
    draw_colour_bar(figure, mappable, panels[: len(values)], *quantity)
