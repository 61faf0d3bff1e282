"""Time against error: the settings of the solver and the surrogate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

#: A point of the figure: time of a trajectory (s) and relative L2 error; None where a value is not finite.
Point = tuple[float | None, float | None]


def draw_worth(
    settings: Sequence[Point], query: Point, batch: Point, surrogate: str, batch_size: int
) -> Figure:
    """Draw the settings of the solver, their front, and one query and one batch of the surrogate.

    Args:
        settings: the settings of the solver with errors above 0.
        query: one query of the surrogate.
        batch: one query of the surrogate in a batch.
        surrogate: the name of the surrogate.
        batch_size: the number of queries in the batch.
    """
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    panel = figure.subplots()
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
        (query, "*", f"{surrogate}, one query"),
        (batch, "D", f"{surrogate}, in a batch of {batch_size}"),
    ):
        if seconds is not None and error is not None:
            size = 15 if marker == "*" else 7
            panel.plot(1e3 * seconds, error, marker, color="#d55e00", markersize=size, label=label)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.grid(color="0.9", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.set_xlabel("time of a trajectory on one thread (ms)")
    panel.set_ylabel("relative L2 error of the last frame")
    panel.legend(loc="best")
    return figure
