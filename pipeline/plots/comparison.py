"""Truth, prediction and error of one trajectory next to each other, in one, two or three dimensions.

Shape letters: T frames; the states here are of one channel, (T, *sites).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simsurrogate.spec import Axis

NUM_COLUMNS = 4
TRUTH, PREDICTION = "#222222", "#d55e00"
_FIELD_MAP, _ERROR_MAP = "viridis", "RdBu_r"


@dataclass(frozen=True)
class Channel:
    """The name, the unit and the axes of a channel."""

    name: str
    unit: str
    axes: tuple[Axis, ...]


def draw_comparison(
    truth: np.ndarray, prediction: np.ndarray, time: np.ndarray, channel: Channel, title: str
) -> Figure:
    """Draw a column for each of a few times after the initial state.

    One axis gives curves, two axes give images on shared scales, and three axes give the middle slice along
    the last axis.

    Args:
        truth: one channel, (T, *sites).
        prediction: the same shape; the first frame is an input.
        time: (T,), in seconds.
        channel: the name, the unit and the axes of the channel.
        title: the title of the figure.
    """
    if truth.ndim == 4:
        axis, middle = channel.axes[-1], truth.shape[-1] // 2
        height = axis.centres[middle]
        title = f"{title}, slice at {axis.name} = {_rounded(height)} {unit_words(axis.unit)}".rstrip()
        truth, prediction = truth[..., middle], prediction[..., middle]
    frames = chosen_frames(len(time))
    draw = _curves if truth.ndim == 2 else _images
    figure = draw(truth[frames], prediction[frames], [time[frame] for frame in frames], channel)
    figure.suptitle(title, fontsize=11)
    return figure


def chosen_frames(num_frames: int) -> list[int]:
    """Return a few evenly spaced frames, the last one included and the first one left out."""
    return sorted(set(np.linspace(0, num_frames - 1, NUM_COLUMNS + 1).round().astype(int).tolist()) - {0})


def label(name: str, unit: str) -> str:
    """Return `name (unit)`, without the unit where it is 1."""
    text = name.replace("_", " ")
    return f"{text} ({unit_words(unit)})" if unit_words(unit) else text


def _curves(truth: np.ndarray, prediction: np.ndarray, times: list[float], channel: Channel) -> Figure:
    (axis,) = channel.axes
    x = axis.centres
    figure = Figure(figsize=(2.5 * len(times) + 0.8, 4.2), layout="constrained")
    panels = figure.subplots(2, len(times), sharex=True, sharey="row", squeeze=False, height_ratios=[3, 2])
    for column, time in enumerate(times):
        above, below = panels[:, column]
        above.plot(x, truth[column], color=TRUTH, label="truth", linewidth=1.6)
        above.plot(x, prediction[column], color=PREDICTION, label="prediction", dashes=(3, 2), linewidth=1.6)
        above.set_title(f"t = {_rounded(time)} s")
        below.axhline(0, color="0.7", linewidth=0.8)
        below.plot(x, prediction[column] - truth[column], color=PREDICTION, linewidth=1.6)
        below.set_xlabel(label(axis.name, axis.unit))
    panels[0, 0].set_ylabel(label(channel.name, channel.unit))
    panels[1, 0].set_ylabel("prediction − truth")
    panels[0, 0].legend(loc="best")
    return figure


def _images(truth: np.ndarray, prediction: np.ndarray, times: list[float], channel: Channel) -> Figure:
    x, y = channel.axes[:2]
    extent = (x.lower, x.upper, y.lower, y.upper)
    height = 1.95 * min(max((extent[3] - extent[2]) / (extent[1] - extent[0]), 0.4), 1.6)
    figure = Figure(figsize=(2.2 * len(times) + 1.4, 3 * height + 1.1), layout="constrained")
    panels = figure.subplots(3, len(times), sharex=True, sharey=True, squeeze=False)
    low, high = float(truth.min()), float(truth.max())
    error = prediction - truth
    largest = float(np.abs(error[np.isfinite(error)]).max(initial=0.0)) or 1.0
    rows = (
        ("truth", truth, _FIELD_MAP, low, high),
        ("prediction", prediction, _FIELD_MAP, low, high),
        ("prediction − truth", error, _ERROR_MAP, -largest, largest),
    )
    for row, (name, values, colours, lowest, highest) in enumerate(rows):
        for column in range(len(times)):
            image = panels[row, column].imshow(
                values[column].T, origin="lower", extent=extent, cmap=colours, vmin=lowest, vmax=highest
            )
        panels[row, 0].set_ylabel(f"{name}\n{label(y.name, y.unit)}")
        if row != 0:
            row_panels = panels[:2] if row == 1 else panels[2]
            bar = figure.colorbar(image, ax=row_panels, pad=0.02, aspect=30 if row == 1 else 15)
            bar.set_label(label(channel.name, channel.unit))
            bar.outline.set_visible(False)
    for column, time in enumerate(times):
        panels[0, column].set_title(f"t = {_rounded(time)} s")
        panels[2, column].set_xlabel(label(x.name, x.unit))
    _show_box(panels)
    return figure


def _show_box(panels: np.ndarray) -> None:
    panel: Axes
    for panel in panels.flat:
        panel.spines[:].set_visible(False)
        panel.tick_params(length=2)


def unit_words(unit: str) -> str:
    """Return the unit, or nothing where it is 1."""
    return "" if unit == "1" else unit


def _rounded(value: float) -> str:
    return f"{value:.3g}"
