"""Cheaper and more accurate settings of the flow solver, for the comparison with a surrogate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from simsurrogate.errors import UserError
from solvers.contract import Setting, Solver
from solvers.navier_stokes.resolution import LEAST_CELLS

#: The numbers of cells along each axis, divided by those of the original grid.
FRACTIONS = (1, 7 / 8, 3 / 4, 5 / 8, 1 / 2, 7 / 16, 3 / 8, 5 / 16, 1 / 4, 3 / 16, 1 / 8, 1 / 16, 1 / 32)

#: Tolerances of the error control, besides the original one.
TOLERANCES = (1e-4, 1e-3, 1e-2, 1e-1)

#: The number of cells of the reference grid divided by that of the original grid, along each axis.
REFERENCE_RATIO = 2


def cheaper_settings(
    build: Callable[..., Solver], resolution: tuple[int, ...], step_options: Mapping[str, Any]
) -> Iterator[Setting]:
    """Yield all pairs of a grid and a step control, see `Solver.cheaper_settings`.

    A grid that does not keep the waves of the forcing is left out.

    Args:
        build: returns the solver for the options `resolution`, `time_step` and `tolerance`.
        resolution: the number of cells of the original grid.
        step_options: the original options `time_step` and `tolerance`.
    """
    adaptive = [{"time_step": None, "tolerance": tolerance} for tolerance in TOLERANCES]
    for cells in _coarser_grids(resolution):
        to_sites = _map_to(resolution, cells)
        for options in (step_options, *adaptive):
            try:
                solver = build(resolution=list(cells), **options)
            except UserError:
                break
            yield Setting(_name(cells, options), solver, to_sites)


def reference_setting(build: Callable[..., Solver], resolution: tuple[int, ...], tolerance: float) -> Setting:
    """Return a setting with a far smaller error in space and in time, see `Solver.reference_setting`."""
    cells = tuple(REFERENCE_RATIO * count for count in resolution)
    options = {"time_step": None, "tolerance": min(tolerance / 10, 1e-7)}
    return Setting(
        _name(cells, options), build(resolution=list(cells), **options), _map_to(resolution, cells)
    )


def _coarser_grids(resolution: tuple[int, ...]) -> list[tuple[int, ...]]:
    grids = [tuple(2 * round(fraction * count / 2) for count in resolution) for fraction in FRACTIONS]
    return [cells for cells in grids if min(cells) >= LEAST_CELLS]


def _name(cells: tuple[int, ...], options: Mapping[str, Any]) -> str:
    """Return the setting in words: "32 x 32 cells, tolerance 0.001"."""
    steps = (
        f"tolerance {options['tolerance']:g}"
        if options["time_step"] is None
        else f"steps of {options['time_step']:g} s"
    )
    return f"{' x '.join(map(str, cells))} cells, {steps}"


def _map_to(resolution: tuple[int, ...], cells: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the map of a state (C, *cells) to another grid: its waves, evaluated at the other centres."""
    if cells == resolution:
        return lambda state: state
    kept = [min(counts) for counts in zip(cells, resolution, strict=True)]
    waves = [np.arange(-((count - 1) // 2), (count - 1) // 2 + 1) for count in kept]
    shifts = [
        np.exp(-1j * np.pi * w * (1 / n - 1 / m)) for w, n, m in zip(waves, cells, resolution, strict=True)
    ]
    (rows, columns), (target_rows, target_columns) = (
        np.ix_(*(wave % count for wave, count in zip(waves, counts, strict=True)))
        for counts in (cells, resolution)
    )
    factor = math.prod(resolution) / math.prod(cells) * np.multiply.outer(*shifts)

    def to_grid(state: np.ndarray) -> np.ndarray:
        spectrum = np.zeros((len(state), *resolution), complex)
        spectrum[:, target_rows, target_columns] = np.fft.fft2(state)[:, rows, columns] * factor
        result: np.ndarray = np.fft.ifft2(spectrum).real
        return result

    return to_grid
