"""The energy spectrum of prediction and truth, with the ratio of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from pipeline.plots.comparison import PREDICTION_COLOUR, TRUTH_COLOUR
from pipeline.plots.panels import draw_grid, make_logarithmic, two_panels

_LINE_STYLES = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
#: Energies below this share of the largest one are at the level of round-off, and would stretch the axis.
_SMALLEST_ENERGY = 1e-12


@dataclass(frozen=True)
class FieldSpectra:
    """The spectra of one field.

    Attributes:
        title: the name of the field in words.
        unit: the unit of the energy.
        wave_number: (S,), rad per `length_unit`.
        length_unit: the unit of length.
        energy: the energy (S,) of `truth`, `surrogate` and the baselines with their names in words, NaN where
            it is not finite.
        ratio: median, 10 % and 90 % quantile of the surrogate's energy over that of the truth, each (S,).
    """

    title: str
    unit: str
    wave_number: np.ndarray
    length_unit: str
    energy: Mapping[str, np.ndarray]
    ratio: tuple[np.ndarray, np.ndarray, np.ndarray]


def draw(spectra: FieldSpectra, surrogate: str) -> Figure:
    """Draw the energies and, in a panel below, the ratio next to a line at 1."""
    figure, upper, lower = two_panels(spectra.title, height=4.0)
    lowest = _SMALLEST_ENERGY * np.nanmax(spectra.energy["truth"], initial=0.0)
    styles = iter(_LINE_STYLES * 2)
    for name, energy in spectra.energy.items():
        visible = np.where(energy > lowest, energy, np.nan)
        if name == "truth":
            upper.plot(spectra.wave_number, visible, label=name, color=TRUTH_COLOUR, linewidth=2.2)
        elif name == "surrogate":
            upper.plot(spectra.wave_number, visible, label=surrogate, color=PREDICTION_COLOUR, linewidth=1.8)
        else:
            upper.plot(
                spectra.wave_number, visible, label=name, color="#999999", linewidth=1, linestyle=next(styles)
            )
    median, low, high = (np.where(series > 0, series, np.nan) for series in spectra.ratio)
    lower.axhline(1.0, color=TRUTH_COLOUR, linewidth=1)
    lower.plot(spectra.wave_number, median, color=PREDICTION_COLOUR, linewidth=1.8)
    lower.fill_between(spectra.wave_number, low, high, color=PREDICTION_COLOUR, alpha=0.18, linewidth=0)
    upper.set_ylabel(f"mean square ({spectra.unit})" if spectra.unit else "mean square")
    lower.set_ylabel("ratio")
    lower.set_xlabel(f"wave number (rad/{spectra.length_unit})")
    upper.legend(loc="best", fontsize="x-small")
    for panel in (upper, lower):
        make_logarithmic(panel, "x")
        make_logarithmic(panel)
        draw_grid(panel)
    upper.tick_params(labelbottom=False)
    return figure
