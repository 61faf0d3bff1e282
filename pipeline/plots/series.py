"""Invariants over time: conserved quantities, and quantities that change at a known rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from simsurrogate.spec import Quantity

_COLUMNS = 3


def draw(times: np.ndarray, invariants: Sequence[Quantity], values: np.ndarray) -> Figure:
    """Draw a panel for each invariant with a line for each trajectory.

    `values` has the shape (invariants, trajectories, T).
    """
    rows = -(-len(invariants) // _COLUMNS)
    columns = min(len(invariants), _COLUMNS)
    figure = Figure(figsize=(3.6 * columns, 2.6 * rows + 0.2), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, quantity, series in zip(panels, invariants, values, strict=False):
        panel.plot(times, series.T, linewidth=1)
        panel.set_title(quantity.name.replace("_", " "), fontsize="small")
        panel.set_ylabel(quantity.unit)
        panel.set_xlabel("t (s)")
    for unused_panel in panels[len(invariants) :]:
        unused_panel.set_axis_off()
    return figure
