"""Derivatives of stored frames, for the test of a solver's residual."""

from __future__ import annotations

import numpy as np

from simsurrogate.spec import Spec


def derivative_of_frames(spec: Spec, step: float, values: np.ndarray, name: str) -> np.ndarray:
    """Return the derivative of frames (T, *sites) that are `step` (s) apart, with respect to `t` or an axis.

    A Fourier series gives the derivative along a periodic axis, central differences along `t` and other axes.
    """
    if name == "t":
        return np.gradient(values, step, axis=0)
    axis_index = spec.axis_names.index(name)
    axis, dimension = spec.axes[axis_index], axis_index + 1
    width = axis.extent / axis.size
    if axis.boundary != "periodic":
        return np.gradient(values, width, axis=dimension)
    wave_numbers = 2 * np.pi * np.fft.rfftfreq(axis.size, width)
    wave_numbers[axis.size // 2 :] *= axis.size % 2  # the derivative of the shortest wave is zero
    shaped_wave_numbers = wave_numbers.reshape(
        [-1 if other_axis == dimension else 1 for other_axis in range(values.ndim)]
    )
    spectrum = np.fft.rfft(values, axis=dimension)
    return np.fft.irfft(1j * shaped_wave_numbers * spectrum, axis.size, axis=dimension)
