"""Time against error: the settings of the solver and the surrogate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.plots.panels import finish_times_and_errors, single_panel

#: A point of the figure: time of a trajectory (s) and relative L2 error; None where a value is not finite.
Point = tuple[float | None, float | None]


def draw_worth(
    settings: Sequence[Point],
    query: Point,
    batch: Point,
    batch_size: int,
    data_error: float | None = None,
) -> Figure:
    """Draw the settings of the solver, their front, and one query and one batch of the surrogate.

    Points to the left are faster, and points below are more accurate.

    Args:
        settings: the settings of the solver with errors above 0.
        query: one query of the surrogate.
        batch: one query of the surrogate in a batch.
        batch_size: the number of queries in the batch.
        data_error: the error of the data themselves; None if it is not known.
    """
    figure, panel = single_panel(height=2.7, legend_rows=3)
    points = np.array([point for point in settings if None not in point], dtype=float).reshape(-1, 2)
    points = points[np.argsort(points[:, 0])]
    panel.plot(
        1e3 * points[:, 0], points[:, 1], "o", color="#0072b2", alpha=0.35, label="solver, one setting"
    )
    is_best = points[:, 1] <= np.minimum.accumulate(points[:, 1]) if len(points) else points[:, 1] > 0
    panel.plot(
        1e3 * points[is_best, 0], points[is_best, 1], "-o", color="#0072b2", label="solver, best settings"
    )
    for (seconds, error), marker, label in (
        (query, "*", "surrogate, one query"),
        (batch, "D", f"surrogate, batch of {batch_size}"),
    ):
        if seconds is not None and error is not None:
            size = 15 if marker == "*" else 7
            panel.plot(1e3 * seconds, error, marker, color="#d55e00", markersize=size, label=label)
    if data_error:
        panel.axhline(
            data_error, color="#56b4e9", linewidth=1.2, linestyle="--", label="error of the data", zorder=1
        )
    finish_times_and_errors(figure, panel)
    return figure
