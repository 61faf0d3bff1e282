"""The particles of one trajectory, seen along z."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

#: So many particles are still told apart by the paths they leave.
_FEW = 16


def draw(times: np.ndarray, x: np.ndarray, y: np.ndarray, unit: str, panels: int) -> Figure:
    """Few particles as paths from a circle to a dot, many as dots at `panels` times; `x` and `y` are
    (T, N), in `unit`.
    """
    if x.shape[1] <= _FEW:
        figure = Figure(figsize=(5.2, 4.8), layout="constrained")
        panel: Any = figure.subplots()
        for path in zip(x.T, y.T, strict=True):
            (line,) = panel.plot(*path, linewidth=0.9)
            panel.plot(path[0][0], path[1][0], "o", color=line.get_color(), fillstyle="none")
            panel.plot(path[0][-1], path[1][-1], "o", color=line.get_color())
        panel.set_title(f"paths from t = {times[0]:.3g} s (circles) to {times[-1]:.3g} s", fontsize="small")
        _label(panel, unit)
        return figure
    frames = np.unique(np.linspace(0, len(times) - 1, panels).astype(int))
    figure = Figure(figsize=(2.9 * len(frames) + 0.6, 3.2), layout="constrained")
    row = figure.subplots(1, len(frames), sharex=True, sharey=True, squeeze=False)[0]
    for panel, frame in zip(row, frames, strict=True):
        panel.plot(x[frame], y[frame], ".", markersize=2)
        panel.set_title(f"t = {times[frame]:.3g} s", fontsize="small")
        _label(panel, unit)
    # Escapers would shrink the rest to a point.
    middle, reach = np.median(x), max(np.ptp(np.percentile(one, [2, 98])) for one in (x, y))
    row[0].set_xlim(middle - reach, middle + reach)
    row[0].set_ylim(np.median(y) - reach, np.median(y) + reach)
    return figure


def _label(panel: Any, unit: str) -> None:
    panel.set_aspect("equal")
    panel.set_xlabel(f"x ({unit})")
    panel.set_ylabel(f"y ({unit})")
