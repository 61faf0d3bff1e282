"""Random fields as sums over products of one-dimensional modes, and sums of Gaussians.

A field is u(x) = sum over m of a_m phi_m1(x_1) ... phi_md(x_d). The modes have mean square 1 on each axis.
The coefficients a_m are independent of the grid: equal coefficients give the same field at every resolution,
and each rank evaluates only its own block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solvers.numerics.grid import Grid


def half_waves(kind: str, count: int) -> np.ndarray:
    """Return the number of half waves of the first `count` modes along an axis, in ascending order.

    `kind` is the boundary condition: `periodic` has the modes 1, cos, sin, cos, ..., `neumann` cosines and
    `dirichlet` sines.
    """
    index = np.arange(count)
    if kind == "periodic":
        return (index + 1) // 2 * 2
    return index + 1 if kind == "dirichlet" else index


def angular_wave_numbers(kind: str, length: float, count: int) -> np.ndarray:
    """Return the wave numbers (rad/m) of the first `count` modes of an axis, see `half_waves`."""
    wave_numbers: np.ndarray = np.pi / length * half_waves(kind, count)
    return wave_numbers


def modes(kind: str, length: float, count: int, coordinates: np.ndarray) -> np.ndarray:
    """Return the first `count` modes of an axis at `coordinates` (n,), shape (count, n)."""
    phase = angular_wave_numbers(kind, length, count)[:, None] * coordinates
    if kind == "periodic":
        even = (np.arange(count) % 2 == 0)[:, None]
        wave = np.where(even, np.sin(phase), np.cos(phase))
    else:
        wave = np.sin(phase) if kind == "dirichlet" else np.cos(phase)
    values: np.ndarray = np.sqrt(2) * wave
    if kind != "dirichlet":
        values[0] = 1.0
    return values


def standard_deviations(
    kinds: Sequence[str],
    extent: Sequence[float],
    count: int,
    correlation_length: float,
    exponent: float,
) -> np.ndarray:
    """Return the standard deviations of independent coefficients, shape (count,) * d; their squares sum to 1.

    The deviations fall as (1 + (l kappa)^2)^(-exponent / 2) with the wave number kappa (rad/m). The spectrum
    is Matérn-like: flat for wavelengths above the correlation length l (m), a power law below it. The
    constant mode has the standard deviation 0, so the mean of the field over the box is 0.
    """
    axes = [angular_wave_numbers(kind, length, count) for kind, length in zip(kinds, extent, strict=True)]
    squared = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij"))
    deviation = (1 + correlation_length**2 * squared) ** (-exponent / 2)
    deviation[squared == 0] = 0.0
    normed: np.ndarray = deviation / np.sqrt(np.sum(deviation**2))
    return normed


def evaluate(coefficients: np.ndarray, kinds: Sequence[str], grid: Grid) -> np.ndarray:
    """Return the field with these coefficients (count, ..., count) on this rank's block."""
    field = coefficients
    for axis in grid.axes:
        basis = modes(kinds[axis], grid.extent[axis], field.shape[0], grid.coordinates(axis))
        field = np.tensordot(field, basis, axes=(0, 0))
    return field


def gaussians(amplitudes: np.ndarray, centres: np.ndarray, widths: np.ndarray, grid: Grid) -> np.ndarray:
    """Return a sum of Gaussians exp(-r^2 / 2 w^2) on this rank's block, periodic along periodic axes.

    `amplitudes` and `widths` (m) have shape (n,), `centres` (m) shape (n, d). Along a periodic axis of
    length L the distance r is the chord (L / pi) sin(pi r / L), which is smooth across the ends.
    """
    field = amplitudes
    for axis in grid.axes:
        distance = grid.coordinates(axis) - centres[:, axis, None]
        if grid.boundary[axis] == "periodic":
            length = grid.extent[axis]
            distance = length / np.pi * np.sin(np.pi / length * distance)
        factor = np.exp(-0.5 * (distance / widths[:, None]) ** 2)
        field = field[..., None] * factor.reshape(-1, *(1,) * axis, factor.shape[1])
    total: np.ndarray = np.sum(field, axis=0)
    return total
