"""The divergence of a vector field on a grid.

Shape letters: B trajectories, D directions; `*sites` are the cells.
"""

from __future__ import annotations

import numpy as np

from simsurrogate.spec import Spec


def relative_divergence(field: np.ndarray, spec: Spec) -> np.ndarray:
    """Return ‖∇·v‖ / ‖∇v‖ of a vector field (B, D, *sites), shape (B,), between 0 and sqrt(D).

    ‖∇v‖ is the norm over all D² derivatives. Derivatives along periodic axes are those of the trigonometric
    interpolant, all other derivatives are central differences of second order. A field without gradients has
    the value 0; a field that is not finite has the value infinity.
    """
    divergence, squared_gradient = np.zeros_like(field[:, 0]), np.zeros(len(field))
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for component in range(field.shape[1]):
            for axis in range(len(spec.axes)):
                derivative = _derivative(field[:, component], axis, spec)
                squared_gradient += np.square(derivative).reshape(len(field), -1).sum(axis=1)
                if axis == component:
                    divergence += derivative
        ratio = np.sqrt(np.square(divergence).reshape(len(field), -1).sum(axis=1) / squared_gradient)
    is_finite = np.isfinite(field).reshape(len(field), -1).all(axis=1)
    return np.where(squared_gradient == 0, 0.0, np.where(is_finite & np.isfinite(ratio), ratio, np.inf))


def _derivative(values: np.ndarray, axis: int, spec: Spec) -> np.ndarray:
    """Return the derivative of values (B, *sites) along an axis of the grid."""
    from scipy import fft

    size, extent = spec.axes[axis].size, spec.axes[axis].extent
    if spec.axes[axis].boundary != "periodic":
        if size == 1:
            return np.zeros_like(values)
        derivative: np.ndarray = np.gradient(values, extent / size, axis=axis + 1)
        return derivative
    wave_numbers = 2 * np.pi / extent * np.arange(size // 2 + 1)
    if size % 2 == 0:
        # The derivative of the highest mode is not determined by its values.
        wave_numbers[-1] = 0.0
    shape = [1] * values.ndim
    shape[axis + 1] = -1
    modes = fft.rfft(values, axis=axis + 1) * (1j * wave_numbers.reshape(shape))
    derivative = fft.irfft(modes, size, axis=axis + 1)
    return derivative
