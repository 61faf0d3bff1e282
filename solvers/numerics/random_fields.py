"""Random fields as sums of products of one-dimensional modes, and sums of Gaussians.

A field is u(x) = sum over m of a_m phi_m1(x_1) ... phi_md(x_d). The modes have mean square 1 along each axis.
The coefficients a_m do not depend on the grid. Equal coefficients give the same field at every resolution,
and each rank evaluates only its own block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simsurrogate.memory import require_memory
from solvers.numerics.grid import Grid

#: The share of the variance of a spectrum in its modes below which `truncation_caution` has a sentence.
LEAST_SHARE = 0.8

#: The largest number of modes of the spectrum of `truncation_caution`.
MAX_MODES = 2**21


def half_waves(kind: str, count: int) -> np.ndarray:
    """Return the number of half waves of the first `count` modes along an axis, in ascending order.

    `kind` is the boundary condition. The modes of `periodic` are 1, cos, sin, cos, ...; the modes of
    `neumann` are cosines, and the modes of `dirichlet` are sines.
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
        is_sine = (np.arange(count) % 2 == 0)[:, None]
        wave = np.where(is_sine, np.sin(phase), np.cos(phase))
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
    """Return the standard deviations of independent coefficients, shape (count,) * d, with squares of sum 1.

    The deviations are proportional to (1 + (l kappa)^2)^(-exponent / 2) for the wave number kappa (rad/m).
    The Matérn-like spectrum is flat for waves longer than the correlation length l (m), and a power law for
    shorter waves. The constant mode has the standard deviation 0. The mean of the field over the box is
    therefore 0.

    Raises:
        UserError: the coefficients need more memory than is free.
    """
    num_axes = len(extent)
    require_memory(
        (num_axes + 3) * 8 * count**num_axes,
        f"a random field of {count} modes along each of {num_axes} axes",
        "a smaller number of modes",
    )
    deviation = _spectrum(kinds, extent, count, correlation_length, exponent)
    normalised_deviation: np.ndarray = deviation / np.sqrt(np.sum(deviation**2))
    return normalised_deviation


def truncation_caution(
    kinds: Sequence[str],
    extent: Sequence[float],
    count: int,
    correlation_length: float,
    exponent: float,
    *,
    group: str,
) -> list[str]:
    """Return a sentence if `count` modes hold much less than the variance of the spectrum, or nothing.

    The variance of the whole spectrum is that of four times as many modes along each axis, a lower bound.
    There is no sentence if these modes are more than `MAX_MODES`. The arguments are those of
    `standard_deviations`, and the group of the options.
    """
    if (4 * count) ** len(extent) > MAX_MODES:
        return []
    variances = _spectrum(kinds, extent, 4 * count, correlation_length, exponent) ** 2
    share = float(np.sum(variances[(slice(0, count),) * len(extent)]) / np.sum(variances))
    if share >= LEAST_SHARE:
        return []
    return [
        f"solver.{group}.modes={count} hold at most {100 * share:.0f} % of the variance of "
        f"solver.{group}.correlation_length={correlation_length:g} m. The field has its full amplitude, "
        "and its actual correlation length is longer"
    ]


def _spectrum(
    kinds: Sequence[str],
    extent: Sequence[float],
    count: int,
    correlation_length: float,
    exponent: float,
) -> np.ndarray:
    """Return the standard deviations of `standard_deviations` up to a factor."""
    wave_numbers = [
        angular_wave_numbers(kind, length, count) for kind, length in zip(kinds, extent, strict=True)
    ]
    squared_wave_numbers = sum(
        axis_wave_numbers**2 for axis_wave_numbers in np.meshgrid(*wave_numbers, indexing="ij")
    )
    deviation: np.ndarray = (1 + correlation_length**2 * squared_wave_numbers) ** (-exponent / 2)
    deviation[squared_wave_numbers == 0] = 0.0
    return deviation


def evaluate(coefficients: np.ndarray, kinds: Sequence[str], grid: Grid) -> np.ndarray:
    """Return the field with these coefficients (count, ..., count) on this rank's block."""
    field = coefficients
    for axis in grid.axes:
        basis = modes(kinds[axis], grid.extent[axis], field.shape[0], grid.coordinates(axis))
        field = np.tensordot(field, basis, axes=(0, 0))
    return field


def gaussians(amplitudes: np.ndarray, centres: np.ndarray, widths: np.ndarray, grid: Grid) -> np.ndarray:
    """Return a sum of Gaussians exp(-r^2 / 2 w^2) on this rank's block, periodic along periodic axes.

    `amplitudes` and `widths` (m) have the shape (n,), and `centres` (m) the shape (n, d). Along a periodic
    axis of length L, the smooth chord length (L / pi) sin(pi r / L) replaces the distance r.
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
