"""Power spectra of periodic fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure


def draw(
    names: Sequence[str], extent: Sequence[float], unit: str, times: np.ndarray, states: np.ndarray
) -> Figure:
    """Draw a panel for each channel and a line for each time of `states` (T, C, *sites) in a box `extent`."""
    figure = Figure(figsize=(3.6 * len(names), 3.0), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for channel, (panel, name) in enumerate(zip(panels, names, strict=True)):
        for time, field in zip(times, states[:, channel], strict=True):
            wave_numbers, power = spectrum(field, extent)
            visible = power > power.max(initial=0.0) * 1e-14
            panel.loglog(wave_numbers[visible], power[visible], label=f"t = {time:.3g} s", linewidth=1)
        panel.set_title(f"power spectrum of {name.replace('_', ' ')}", fontsize="small")
        panel.set_xlabel(f"wave number (rad/{unit})")
    panels[0].legend(fontsize="small")
    return figure


def spectrum(field: np.ndarray, extent: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the wave numbers of shells (rad per unit of length), and a field's mean square in each shell.

    A shell is as wide as the smallest wave number of the box. The powers of all shells add up to the variance
    of the field (Parseval), without the corners of the spectrum beyond the largest wave number that all axes
    have.
    """
    power = np.abs(np.fft.fftn(field.astype(np.float64))) ** 2 / field.size**2
    axes = [
        2 * np.pi * np.fft.fftfreq(count, length / count)
        for count, length in zip(field.shape, extent, strict=True)
    ]
    wave_number = np.sqrt(sum(component**2 for component in np.meshgrid(*axes, indexing="ij")))
    width = 2 * np.pi / max(extent)
    shell = np.rint(wave_number / width).astype(int)
    last = int(min(np.abs(axis).max() for axis in axes) / width)
    totals = np.bincount(shell.ravel(), weights=power.ravel(), minlength=last + 1)
    shells = np.arange(1, last + 1)
    return shells * width, totals[shells]
