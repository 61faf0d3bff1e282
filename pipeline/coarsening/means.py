"""Means of fields over blocks of cells: the arithmetic mean, the harmonic mean, and directional means.

Shape letters: `*cells` are cells of the solver's grid, `*blocks` are cells of the coarser grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

#: A mean of a field (..., *cells) over blocks of the given numbers of cells, (..., *blocks).
Mean = Callable[[np.ndarray, Sequence[int]], np.ndarray]


def arithmetic_mean(values: np.ndarray, cells: Sequence[int]) -> np.ndarray:
    """Return the mean of each block. The mean over all blocks is the mean of `values`, up to round-off."""
    result: np.ndarray = _in_blocks(values, cells).mean(axis=_inner_axes(cells))
    return result


def harmonic_mean(values: np.ndarray, cells: Sequence[int]) -> np.ndarray:
    """Return the harmonic mean of each block: the conductivity of cells in series."""
    with np.errstate(divide="ignore"):
        result: np.ndarray = 1 / arithmetic_mean(1 / values, cells)
    return result


def series_mean(values: np.ndarray, cells: Sequence[int], axis: int) -> np.ndarray:
    """Return the conductivity along `axis` of each block, as lines of cells in parallel.

    The cells of a line are in series. The result is the arithmetic mean over the other axes of the harmonic
    mean along `axis`, a lower bound of the effective conductivity of the block along `axis`.
    """
    one_line = [count if index == axis else 1 for index, count in enumerate(cells)]
    lines = [1 if index == axis else count for index, count in enumerate(cells)]
    return arithmetic_mean(harmonic_mean(values, one_line), lines)


def conductivity_means(axis_names: Sequence[str]) -> Iterator[tuple[str, str, Mean]]:
    """Yield the short name, the description and the function of each mean of a conductivity.

    On one axis, the mean in series is the harmonic mean, and is left out.
    """
    yield "arithmetic", "arithmetic mean over a cell", arithmetic_mean
    yield "harmonic", "harmonic mean over a cell", harmonic_mean
    for axis, name in enumerate(axis_names) if len(axis_names) > 1 else ():
        others = " and ".join(other for other in axis_names if other != name)
        words = f"mean over a cell, in series along {name} and parallel along {others}"
        yield f"series_{name}", words, partial(series_mean, axis=axis)


def _in_blocks(values: np.ndarray, cells: Sequence[int]) -> np.ndarray:
    """Return values (..., *cells) with two axes for each axis of the grid: block, and cell of the block."""
    num_axes = len(cells)
    shape = [*values.shape[:-num_axes]]
    for size, count in zip(values.shape[-num_axes:], cells, strict=True):
        shape += [size // count, count]
    return np.ascontiguousarray(values).reshape(shape)


def _inner_axes(cells: Sequence[int]) -> tuple[int, ...]:
    """Return the axes of the cells of a block, counted from the last axis."""
    return tuple(range(1 - 2 * len(cells), 0, 2))
