"""The bodies of one trajectory: where they went in truth and in the prediction, and how far apart that is.

Shape letters: T frames, C channels of the state, N particles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.plots.comparison import PREDICTION, TRUTH

#: So many bodies are still told apart by the paths that they leave.
_FEW = 16


def draw_bodies(
    truth: np.ndarray, prediction: np.ndarray, time: np.ndarray, units: tuple[str, ...], title: str
) -> Figure:
    """The bodies in the plane of x and y, and the distance of each from its true place over time.

    Few bodies leave paths, from a circle to a dot; many are dots at the last frame. The plane shows where
    the truth is: a prediction may leave it.

    Args:
        truth: (T, C, N); the channels are positions and then velocities.
        prediction: the same shape; its first frame was given.
        time: (T,), in seconds.
        units: of the channels.
        title: stands above all.
    """
    dimension = truth.shape[1] // 2
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    plane, distance = figure.subplots(1, 2)
    handles = (_paths if truth.shape[2] <= _FEW else _dots)(plane, truth, prediction)
    plane.legend(handles, ["truth", "prediction"], loc="best")
    _frame(plane, truth[:, :2], units[0])
    apart = np.linalg.norm(prediction[1:, :dimension] - truth[1:, :dimension], axis=1)
    _over_time(distance, time[1:], apart, units[0])
    figure.suptitle(title, fontsize=11)
    return figure


def _paths(panel: Axes, truth: np.ndarray, prediction: np.ndarray) -> list[Line2D]:
    """The true paths wide and pale, the predicted ones thin over them; lines for the legend."""
    true: dict[str, Any] = {"linewidth": 4, "alpha": 0.3}
    predicted: dict[str, Any] = {"linewidth": 1.2}
    for body in range(truth.shape[2]):
        colour = f"C{body % 10}"
        panel.plot(*truth[:, :2, body].T, color=colour, **true)
        panel.plot(*truth[0, :2, body], "o", color=colour, fillstyle="none")
        panel.plot(*prediction[:, :2, body].T, color=colour, **predicted)
        panel.plot(*prediction[-1, :2, body], "o", color=colour)
    return [Line2D([], [], color="0.3", **style) for style in (true, predicted)]


def _dots(panel: Axes, truth: np.ndarray, prediction: np.ndarray) -> list[Line2D]:
    """The bodies at the last frame; their lines for the legend."""
    drawn: list[Line2D] = []
    for states, colour in ((truth, TRUTH), (prediction, PREDICTION)):
        drawn += panel.plot(*states[-1, :2], ".", color=colour, markersize=3)
    return drawn


def _frame(panel: Axes, positions: np.ndarray, unit: str) -> None:
    low, high = positions.min(axis=(0, 2)), positions.max(axis=(0, 2))
    middle, reach = (low + high) / 2, 0.55 * float(np.max(high - low)) or 1.0
    panel.set_xlim(middle[0] - reach, middle[0] + reach)
    panel.set_ylim(middle[1] - reach, middle[1] + reach)
    panel.set_aspect("equal")
    panel.set_xlabel(f"x ({unit})")
    panel.set_ylabel(f"y ({unit})")


def _over_time(panel: Axes, time: np.ndarray, apart: np.ndarray, unit: str) -> None:
    if apart.shape[1] <= _FEW:
        for body, values in enumerate(apart.T):
            panel.plot(time, _drawable(values), color=f"C{body % 10}", linewidth=1.2, label=f"body {body}")
    else:
        bounded = np.where(np.isfinite(apart), apart, np.inf)
        for share, style in ((0.5, "-"), (0.9, "--")):
            values = _drawable(np.quantile(bounded, share, axis=1, method="higher"))
            panel.plot(time, values, style, color=PREDICTION, label=f"{share:.0%} of the bodies are nearer")
    panel.set_yscale("log")
    panel.grid(axis="y", color="0.9", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.set_xlabel("time (s)")
    panel.set_ylabel(f"distance from the true place ({unit})")
    panel.legend(loc="best")


def _drawable(values: np.ndarray) -> np.ndarray:
    """Without zero and what is not finite, which have no place on a logarithmic axis."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)
