"""One style of colour bars: a thin bar without a frame, labelled with name and unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.plots.labels import label


def draw_colour_bar(figure: Any, image: Any, panels: Sequence[Any], name: str, unit: str) -> None:
    """Draw the colour bar of an image to the right of its panels."""
    colour_bar = figure.colorbar(image, ax=list(panels), pad=0.02, aspect=20, shrink=0.9)
    colour_bar.set_label(label(name, unit), fontsize="small")
    colour_bar.outline.set_visible(False)
    colour_bar.ax.tick_params(length=2, labelsize="small")
