"""Lines and points: truth and prediction along an axis or over time, and errors against a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.plots.comparison import PREDICTION_COLOUR, TRUTH_COLOUR
from pipeline.plots.labels import label
from pipeline.plots.panels import draw_grid, make_logarithmic, single_panel, two_panels

_INPUT_COLOUR = "#0072b2"
#: More points are one image inside the figure.
_MAX_VECTOR_POINTS = 1000
#: The smallest number of points with a line through the medians of groups, and the number of groups.
_MIN_TREND_POINTS, _NUM_GROUPS = 20, 5


def draw_profile(
    x: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    x_label: str,
    y_label: str,
    title: str,
    initial: np.ndarray | None = None,
    deviation: np.ndarray | None = None,
) -> Figure:
    """Draw truth and prediction over `x`, all of the shape (N,), and their difference below.

    Args:
        x: positions or times.
        truth: the true values.
        prediction: the predicted values; values that are not finite are left out.
        x_label: the name and the unit of `x`.
        y_label: the name and the unit of the values.
        title: the title of the figure.
        initial: the values of the input, if the input has the same axis.
        deviation: the predicted standard deviation, a band around the prediction.
    """
    figure, upper, lower = two_panels(title)
    if initial is not None:
        upper.plot(x, initial, color=_INPUT_COLOUR, label="input, t = 0", linewidth=1, alpha=0.7)
    upper.plot(x, truth, color=TRUTH_COLOUR, label="truth", linewidth=1.6)
    finite = np.where(np.isfinite(prediction), prediction, np.nan)
    upper.plot(x, finite, color=PREDICTION_COLOUR, label="prediction", dashes=(3, 2), linewidth=1.6)
    if deviation is not None:
        upper.fill_between(
            x,
            finite - deviation,
            finite + deviation,
            label="± standard deviation",
            color=PREDICTION_COLOUR,
            alpha=0.18,
            linewidth=0,
        )
    upper.set_ylabel(y_label)
    upper.legend(loc="best", fontsize="small")
    lower.axhline(0, color="#b2b2b2", linewidth=0.8)
    lower.plot(x, finite - truth, color=PREDICTION_COLOUR, linewidth=1.4)
    lower.set_ylabel("error")
    lower.set_xlabel(x_label)
    return figure


def draw_line(x: np.ndarray, values: np.ndarray, x_label: str, y_label: str, title: str) -> Figure:
    """Draw values over `x`, both (N,)."""
    figure, panel = single_panel(title)
    panel.plot(x, values, color=_INPUT_COLOUR, linewidth=1.4)
    panel.set_xlabel(x_label)
    panel.set_ylabel(y_label)
    return figure


def draw_parameter_errors(
    name: str, unit: str, groups: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """Draw the error of each trajectory against a parameter, a colour and a marker for each group.

    Args:
        name: the name of the parameter.
        unit: its unit.
        groups: the values of the parameter (N,) and the relative errors (N,) by the name of the group.
    """
    figure, panel = single_panel(height=2.6)
    styles: Sequence[tuple[str, str]] = (("o", "#0072b2"), ("x", "#d55e00"))
    for (group, (values, errors)), (marker, colour) in zip(groups.items(), styles, strict=False):
        is_visible = np.isfinite(errors) & (errors > 0)
        panel.plot(
            values[is_visible],
            errors[is_visible],
            marker,
            color=colour,
            alpha=0.6,
            markersize=4,
            label=group,
            rasterized=len(values) > _MAX_VECTOR_POINTS,
        )
        if is_visible.sum() >= _MIN_TREND_POINTS:
            _draw_trend(panel, values[is_visible], errors[is_visible], colour)
    make_logarithmic(panel, is_percent=True)
    draw_grid(panel)
    panel.set_xlabel(label(name, unit))
    panel.set_ylabel("relative L2 error at the end")
    if len(groups) > 1:
        panel.legend(loc="best", fontsize="small")
    return figure


def _draw_trend(panel: Axes, values: np.ndarray, errors: np.ndarray, colour: str) -> None:
    """Draw a line through the medians of groups of equal size, in the order of the values."""
    order = np.array_split(np.argsort(values, kind="stable"), _NUM_GROUPS)
    points = [(np.median(values[group]), np.median(errors[group])) for group in order]
    panel.plot(*np.transpose(points), color=colour, linewidth=1.6)
