"""Derivatives of stored fields along the axes of their grid, in two accuracies.

The difference of both accuracies estimates the error of the derivative. Fields have the shape (T, *sites).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

import numpy as np

from simsurrogate.spec import Axis, Spec

#: A function from fields (T, *sites) and the name of an axis to the derivative.
Derivative = Callable[[np.ndarray, str], np.ndarray]

#: The orders of the finite differences of the two accuracies.
LOW_ORDER, HIGH_ORDER = 2, 4

#: The cells next to a wall that `smooth_part` leaves out, because they need one-sided differences.
WALL_CELLS = 3

#: The largest number of cells of an axis with products of matrices.
_LARGEST_MATRIX = 256


def derivative_of_order(spec: Spec, order: float) -> Derivative:
    """Return the derivative along the axes of a grid.

    Along a periodic axis, the derivative of order infinity is that of the Fourier series. All other
    derivatives are central differences, with one-sided differences of the same order next to walls.
    """

    def derivative(values: np.ndarray, name: str) -> np.ndarray:
        index = spec.axis_names.index(name)
        axis, dimension = spec.axes[index], index - len(spec.axes)
        if math.isinf(order) and axis.boundary == "periodic":
            return _spectral(values, axis, dimension)
        points = min((HIGH_ORDER if math.isinf(order) else int(order)) + 1, axis.size)
        cells, weights = _stencils(axis.size, points, axis.boundary == "periodic")
        factor = axis.size / axis.extent
        shape = _along(dimension, values.ndim)
        result = np.zeros(values.shape)
        for cell, weight in zip(cells, weights, strict=True):
            if np.any(weight):
                result += np.take(values, cell, dimension) * (factor * weight).reshape(shape)
        return result

    return derivative


def smooth_part(spec: Spec, values: np.ndarray) -> np.ndarray:
    """Return the part of values (T, *sites) in which derivatives are accurate.

    The part holds the waves of more than three cells along periodic axes, which the product of two resolved
    fields does not alias, and no cells next to walls.
    """
    for index, axis in enumerate(spec.axes):
        dimension = index - len(spec.axes)
        if axis.boundary == "periodic":
            is_kept = np.arange(axis.size // 2 + 1) * 3 < axis.size
            values = _with_factors(values, tuple(is_kept.tolist()), dimension)
        elif axis.size > 2 * WALL_CELLS:
            values = np.take(values, range(WALL_CELLS, axis.size - WALL_CELLS), dimension)
    return values


def difference_weights(offsets: Sequence[float] | np.ndarray, order: int) -> np.ndarray:
    """Return the weights of values at `offsets` in a derivative at 0 of the polynomial through them.

    `order` 0 interpolates, and `order` 1 gives the first derivative.
    """
    powers = np.vander(np.asarray(offsets, float), increasing=True).T
    right_side = np.zeros(len(powers))
    right_side[order] = math.factorial(order)
    weights: np.ndarray = np.linalg.solve(powers, right_side)
    return weights


def _spectral(values: np.ndarray, axis: Axis, dimension: int) -> np.ndarray:
    waves = 2j * np.pi / axis.extent * np.arange(axis.size // 2 + 1)
    if axis.size % 2 == 0:
        waves[-1] = 0.0  # The derivative of the shortest wave has no sign.
    return _with_factors(values, tuple(waves.tolist()), dimension)


def _with_factors(values: np.ndarray, factors: tuple[complex, ...], dimension: int) -> np.ndarray:
    """Return the values with each wave along an axis multiplied by its factor.

    On short axes a product with a matrix is faster than Fourier transforms.
    """
    size = values.shape[dimension]
    if size > _LARGEST_MATRIX:
        spectrum = np.fft.rfft(values, axis=dimension)
        spectrum *= np.reshape(factors, _along(dimension, values.ndim))
        return np.fft.irfft(spectrum, size, axis=dimension)
    matrix = _matrix(factors, size)
    if dimension == -1:
        product: np.ndarray = values @ matrix.T
    elif dimension == -2:
        product = matrix @ values
    else:
        product = np.moveaxis(np.moveaxis(values, dimension, -1) @ matrix.T, -1, dimension)
    return product


@lru_cache(maxsize=16)
def _matrix(factors: tuple[complex, ...], size: int) -> np.ndarray:
    matrix: np.ndarray = np.fft.irfft(
        np.array(factors)[:, None] * np.fft.rfft(np.eye(size), axis=0), size, axis=0
    )
    return matrix


def _along(dimension: int, num_dimensions: int) -> list[int]:
    """Return the shape in which an array of one axis broadcasts along `dimension`, counted from the last."""
    return [-1 if other == dimension else 1 for other in range(-num_dimensions, 0)]


@cache
def _stencils(size: int, points: int, is_periodic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of each stencil and their weights for cells of width 1, (points, size) both."""
    first = np.arange(size) - points // 2
    if not is_periodic:
        first = np.clip(first, 0, size - points)
    offsets = first - np.arange(size)
    weights_of = {offset: difference_weights(offset + np.arange(points), 1) for offset in np.unique(offsets)}
    weights = np.array([weights_of[offset] for offset in offsets]).T
    weights[np.abs(weights) < 1e-12] = 0.0
    return (first + np.arange(points)[:, None]) % size, weights
