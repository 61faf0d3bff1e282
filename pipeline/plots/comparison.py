"""Truth, prediction and error of one trajectory next to each other, in one, two or three dimensions.

Shape letters: T frames; the states here are of one channel, (T, *sites).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.plots.labels import even_frames, label, rounded_text, unit_words
from pipeline.plots.maps import Scale
from simsurrogate.spec import Axis

#: The largest number of columns of a comparison.
NUM_COLUMNS = 5
TRUTH_COLOUR, PREDICTION_COLOUR = "#222222", "#d55e00"


@dataclass(frozen=True)
class Channel:
    """The name, the unit and the axes of a channel."""

    name: str
    unit: str
    axes: tuple[Axis, ...]


def draw_comparison(
    truth: np.ndarray, prediction: np.ndarray, time: np.ndarray, channel: Channel, title: str
) -> Figure:
    """Draw a column of panels for each of a few times after the initial state.

    One axis gives curves, two axes give images on shared scales, and three axes give the middle slice along
    the last axis.

    Args:
        truth: one channel, (T, *sites).
        prediction: the same shape; the first frame is an input.
        time: the time of each frame (T,), s.
        channel: the name, the unit and the axes of the channel.
        title: the title of the figure.
    """
    if truth.ndim == 4:
        axis, middle = channel.axes[-1], truth.shape[-1] // 2
        coordinate = axis.centres[middle]
        title = f"{title}, slice at {axis.name} = {rounded_text(coordinate)} {unit_words(axis.unit)}".rstrip()
        truth, prediction = truth[..., middle], prediction[..., middle]
    frames = even_frames(len(time), NUM_COLUMNS)
    draw = _draw_curves if truth.ndim == 2 else _draw_images
    figure = draw(truth[frames], prediction[frames], [time[frame] for frame in frames], channel)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_curves(truth: np.ndarray, prediction: np.ndarray, times: list[float], channel: Channel) -> Figure:
    (axis,) = channel.axes
    x = axis.centres
    figure = Figure(figsize=(2.5 * len(times) + 0.8, 4.2), layout="constrained")
    panels = figure.subplots(2, len(times), sharex=True, sharey="row", squeeze=False, height_ratios=[3, 2])
    for column, time in enumerate(times):
        upper_panel, lower_panel = panels[:, column]
        upper_panel.plot(x, truth[column], color=TRUTH_COLOUR, label="truth", linewidth=1.6)
        upper_panel.plot(
            x, prediction[column], color=PREDICTION_COLOUR, label="prediction", dashes=(3, 2), linewidth=1.6
        )
        upper_panel.set_title(f"t = {rounded_text(time)} s")
        lower_panel.axhline(0, color="0.7", linewidth=0.8)
        lower_panel.plot(x, prediction[column] - truth[column], color=PREDICTION_COLOUR, linewidth=1.6)
        lower_panel.set_xlabel(label(axis.name, axis.unit))
    panels[0, 0].set_ylabel(label(channel.name, channel.unit))
    panels[1, 0].set_ylabel("prediction − truth")
    panels[0, 0].legend(loc="best")
    return figure


def _draw_images(truth: np.ndarray, prediction: np.ndarray, times: list[float], channel: Channel) -> Figure:
    x, y = channel.axes[:2]
    extent = (x.lower, x.upper, y.lower, y.upper)
    image_height = 1.95 * min(max((extent[3] - extent[2]) / (extent[1] - extent[0]), 0.4), 1.6)
    width, height = 2.2 * len(times) + 1.95, 3 * image_height + 1.1
    figure = Figure(figsize=(width, height))
    # Fixed margins in inches: a layout that measures all texts takes longer than the drawing.
    grid = figure.add_gridspec(
        3,
        len(times),
        left=0.85 / width,
        right=1 - 1.1 / width,
        bottom=0.5 / height,
        top=1 - 0.6 / height,
        wspace=0.08,
        hspace=0.08,
    )
    panels = grid.subplots(sharex=True, sharey=True, squeeze=False)
    panels[0, 0].xaxis.set_major_locator(MaxNLocator(3))
    panels[0, 0].yaxis.set_major_locator(MaxNLocator(3))
    field_scale, error_scale = Scale.of(truth), Scale.symmetric(prediction - truth)
    rows = (
        ("truth", truth, field_scale),
        ("prediction", prediction, field_scale),
        ("prediction − truth", prediction - truth, error_scale),
    )
    for row, (name, values, scale) in enumerate(rows):
        for column in range(len(times)):
            image = panels[row, column].imshow(
                values[column].T,
                origin="lower",
                extent=extent,
                cmap=scale.colours,
                vmin=scale.low,
                vmax=scale.high,
            )
        panels[row, 0].set_ylabel(f"{name}\n{label(y.name, y.unit)}")
        if row != 0:
            lower, upper = (
                panels[row, -1].get_position().y0,
                panels[0 if row == 1 else 2, -1].get_position().y1,
            )
            bar_panel = figure.add_axes((1 - 1.0 / width, lower, 0.12 / width, upper - lower))
            colour_bar = figure.colorbar(image, cax=bar_panel)
            colour_bar.set_label(label(channel.name, channel.unit))
            colour_bar.outline.set_visible(False)
    for column, time in enumerate(times):
        panels[0, column].set_title(f"t = {rounded_text(time)} s")
        panels[2, column].set_xlabel(label(x.name, x.unit))
    _hide_frames(panels)
    return figure


def _hide_frames(panels: np.ndarray) -> None:
    panel: Axes
    for panel in panels.flat:
        panel.spines[:].set_visible(False)
        panel.tick_params(length=2)
