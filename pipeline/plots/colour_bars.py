"""One style of colour bars: a thin bar without a frame, labelled with name and unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.plots.comparison import label

SEQUENTIAL_COLOURS, DIVERGING_COLOURS = "viridis", "RdBu_r"
#: A field is signed if its smaller end is at least this share of its larger end.
_SIGNED_SHARE = 0.1


def colours_of(values: np.ndarray) -> dict[str, Any]:
    """Return the colour map and the limits of values: diverging and symmetric for signed values."""
    low, high = float(values.min()), float(values.max())
    largest = max(-low, high)
    if low < 0 < high and min(-low, high) >= _SIGNED_SHARE * largest:
        return {"cmap": DIVERGING_COLOURS, "vmin": -largest, "vmax": largest}
    return {"cmap": SEQUENTIAL_COLOURS, "vmin": low, "vmax": high}


def draw_colour_bar(figure: Any, image: Any, panels: Sequence[Any], name: str, unit: str) -> None:
    """Draw the colour bar of an image to the right of its panels."""
    colour_bar = figure.colorbar(image, ax=list(panels), pad=0.02, aspect=20, shrink=0.9)
    colour_bar.set_label(label(name, unit), fontsize="small")
    colour_bar.outline.set_visible(False)
    colour_bar.ax.tick_params(length=2, labelsize="small")
