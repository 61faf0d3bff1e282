"""Power spectra of periodic fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure


def draw(
    names: Sequence[str], extent: Sequence[float], unit: str, times: np.ndarray, states: np.ndarray
) -> Figure:
    """Draw a panel for each channel and a line for each time of `states` (T, C, *sites).

    `extent` is the size of the box along each axis, in `unit`.
    """
    figure = Figure(figsize=(3.6 * len(names), 3.0), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for channel, (panel, name) in enumerate(zip(panels, names, strict=True)):
        for time, field in zip(times, states[:, channel], strict=True):
            wave_numbers, power = spectrum(field, extent)
            is_visible = power > power.max(initial=0.0) * 1e-14
            panel.loglog(wave_numbers[is_visible], power[is_visible], label=f"t = {time:.3g} s", linewidth=1)
        panel.set_title(f"power spectrum of {name.replace('_', ' ')}", fontsize="small")
        panel.set_xlabel(f"wave number (rad/{unit})")
    panels[0].legend(fontsize="small")
    return figure


def spectrum(field: np.ndarray, extent: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the wave numbers of shells (rad per unit of length), and a field's mean square in each shell.

    A shell is as wide as the smallest wave number of the box. The powers of all shells add up to the variance
    of the field (Parseval), without wave numbers beyond the largest wave number that all axes have.
    """
    power = np.abs(np.fft.fftn(field.astype(np.float64))) ** 2 / field.size**2
    axis_wave_numbers = [
        2 * np.pi * np.fft.fftfreq(count, length / count)
        for count, length in zip(field.shape, extent, strict=True)
    ]
    wave_number = np.sqrt(sum(component**2 for component in np.meshgrid(*axis_wave_numbers, indexing="ij")))
    shell_width = 2 * np.pi / max(extent)
    shell_indices = np.rint(wave_number / shell_width).astype(int)
    last_shell = int(min(np.abs(wave_numbers).max() for wave_numbers in axis_wave_numbers) / shell_width)
    shell_power = np.bincount(shell_indices.ravel(), weights=power.ravel(), minlength=last_shell + 1)
    shells = np.arange(1, last_shell + 1)
    return shells * shell_width, shell_power[shells]
