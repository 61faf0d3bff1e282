"""The particles of one trajectory, seen along z: their paths, and a comparison of prediction and truth.

Shape letters: T frames, C channels of the state, N particles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.plots.comparison import PREDICTION_COLOUR, TRUTH_COLOUR
from pipeline.plots.labels import label
from pipeline.plots.panels import draw_grid, make_logarithmic, single_panel

#: The largest number of particles that are drawn as paths; more particles are drawn as dots.
_MAX_PATHS = 16
#: More dots are one image inside the figure.
_MAX_VECTOR_DOTS = 1000


def draw(times: np.ndarray, x: np.ndarray, y: np.ndarray, unit: str, num_panels: int) -> Figure:
    """Draw few particles as paths from a circle to a dot, and many particles as dots at `num_panels` times.

    `x` and `y` are (T, N), in `unit`.
    """
    if x.shape[1] <= _MAX_PATHS:
        figure = Figure(figsize=(5.2, 4.8), layout="constrained")
        panel: Any = figure.subplots()
        for path in zip(x.T, y.T, strict=True):
            (line,) = panel.plot(*path, linewidth=0.9)
            panel.plot(path[0][0], path[1][0], "o", color=line.get_color(), fillstyle="none")
            panel.plot(path[0][-1], path[1][-1], "o", color=line.get_color())
        panel.set_title(f"paths from t = {times[0]:.3g} s (circles) to {times[-1]:.3g} s", fontsize="small")
        _label_axes(panel, unit)
        return figure
    frames = np.unique(np.linspace(0, len(times) - 1, num_panels).astype(int))
    figure = Figure(figsize=(2.9 * len(frames) + 0.6, 3.2), layout="constrained")
    row_panels = figure.subplots(1, len(frames), sharex=True, sharey=True, squeeze=False)[0]
    for panel, frame in zip(row_panels, frames, strict=True):
        panel.plot(x[frame], y[frame], ".", markersize=2)
        panel.set_title(f"t = {times[frame]:.3g} s", fontsize="small")
        _label_axes(panel, unit)
    # The limits leave out the farthest particles, which would shrink the other particles to a point.
    middle_x, half_width = np.median(x), max(np.ptp(np.percentile(values, [2, 98])) for values in (x, y))
    row_panels[0].set_xlim(middle_x - half_width, middle_x + half_width)
    row_panels[0].set_ylim(np.median(y) - half_width, np.median(y) + half_width)
    return figure


def _label_axes(panel: Any, unit: str) -> None:
    panel.set_aspect("equal")
    panel.set_xlabel(f"x ({unit})")
    panel.set_ylabel(f"y ({unit})")


def draw_plane(truth: np.ndarray, prediction: np.ndarray, unit: str, title: str) -> Figure:
    """Draw true and predicted particles in the plane of x and y.

    Few particles are drawn as paths from a circle to a dot, and many particles as dots at the last frame. The
    limits of the plane follow the truth, so a prediction may leave the plane.

    Args:
        truth: (T, C, N); the channels are positions and then velocities.
        prediction: the same shape; the first frame is an input.
        unit: the unit of the positions.
        title: the title of the figure.
    """
    figure, panel = single_panel(title, height=4.0)
    handles = (_draw_paths if truth.shape[2] <= _MAX_PATHS else _draw_dots)(panel, truth, prediction)
    panel.legend(handles, ["truth", "prediction"], loc="upper right", fontsize="small")
    _set_limits(panel, truth[:, :2], unit)
    return figure


def draw_distances(
    truth: np.ndarray, prediction: np.ndarray, time: np.ndarray, unit: str, title: str
) -> Figure:
    """Draw the distances of the predicted from the true particles over time.

    The states have the shapes of those of `draw_plane`, and `time` (T,) is in s.
    """
    dimension = truth.shape[1] // 2
    figure, panel = single_panel(title)
    distances = np.linalg.norm(prediction[1:, :dimension] - truth[1:, :dimension], axis=1)
    _draw_distances(panel, time[1:], distances, unit)
    return figure


def _draw_paths(panel: Axes, truth: np.ndarray, prediction: np.ndarray) -> list[Line2D]:
    """Draw thin predicted paths over wide, pale true paths; return lines for the legend."""
    true_style: dict[str, Any] = {"linewidth": 4, "alpha": 0.3}
    predicted_style: dict[str, Any] = {"linewidth": 1.2}
    for body in range(truth.shape[2]):
        colour = f"C{body % 10}"
        panel.plot(*truth[:, :2, body].T, color=colour, **true_style)
        panel.plot(*truth[0, :2, body], "o", color=colour, fillstyle="none")
        panel.plot(*prediction[:, :2, body].T, color=colour, **predicted_style)
        panel.plot(*prediction[-1, :2, body], "o", color=colour)
    return [Line2D([], [], color="0.3", **style) for style in (true_style, predicted_style)]


def _draw_dots(panel: Axes, truth: np.ndarray, prediction: np.ndarray) -> list[Line2D]:
    """Draw the particles at the last frame; return lines for the legend."""
    lines: list[Line2D] = []
    for states, colour in ((truth, TRUTH_COLOUR), (prediction, PREDICTION_COLOUR)):
        lines += panel.plot(
            *states[-1, :2], ".", color=colour, markersize=3, rasterized=states.shape[2] > _MAX_VECTOR_DOTS
        )
    return lines


def _set_limits(panel: Axes, positions: np.ndarray, unit: str) -> None:
    low, high = positions.min(axis=(0, 2)), positions.max(axis=(0, 2))
    middle, half_width = (low + high) / 2, 0.55 * float(np.max(high - low)) or 1.0
    panel.set_xlim(middle[0] - half_width, middle[0] + half_width)
    panel.set_ylim(middle[1] - half_width, middle[1] + half_width)
    panel.set_aspect("equal")
    panel.set_xlabel(label("x", unit))
    panel.set_ylabel(label("y", unit))


def _draw_distances(panel: Axes, time: np.ndarray, distances: np.ndarray, unit: str) -> None:
    if distances.shape[1] <= _MAX_PATHS:
        for body, values in enumerate(distances.T):
            panel.plot(
                time, _log_scale_values(values), color=f"C{body % 10}", linewidth=1.2, label=f"body {body}"
            )
    else:
        bounded_distances = np.where(np.isfinite(distances), distances, np.inf)
        for share, style in ((0.5, "-"), (0.9, "--")):
            values = _log_scale_values(np.quantile(bounded_distances, share, axis=1, method="higher"))
            panel.plot(
                time, values, style, color=PREDICTION_COLOUR, label=f"{share:.0%} of the bodies are closer"
            )
    make_logarithmic(panel)
    draw_grid(panel)
    panel.set_xlabel("time (s)")
    panel.set_ylabel(label("distance from the true position", unit))
    panel.legend(loc="best", fontsize="small")


def _log_scale_values(values: np.ndarray) -> np.ndarray:
    """Replace by NaN the values that a logarithmic axis cannot show: zero and values that are not finite."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)
