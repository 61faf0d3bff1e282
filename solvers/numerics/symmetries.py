"""The maps between the cells of a grid under which an equation and the drawn fields are invariant."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from simsurrogate.spec import DIRECTIONS
from simsurrogate.symmetries import CellMap
from solvers.numerics.grid import Grid

#: The largest share of the variance of a spectrum in waves whose cosine has no sine, for a shifted axis.
MAX_UNPAIRED_SHARE = 0.01

#: The largest relative difference between a field and the same field after a map, for round-off.
_ROUND_OFF = 1e-9

#: The number of cells at which a field is compared.
_NUM_CELLS = 64

#: The fractions of an axis by which a reflected or exchanged field may also be shifted: 1 / 2 to 1 / 16.
_SHIFT_DIVISORS = range(2, 17)


def cell_maps(grid: Grid, is_invariant: Callable[[CellMap], bool]) -> tuple[CellMap, ...]:
    """Return the shifts, reflections and exchanges of axes under which a problem is invariant.

    The shortest invariant shift along each periodic axis is returned, then joint shifts along two axes. A
    reflection or an exchange that is not invariant by itself may be invariant with a shift. The reflection of
    two axes is returned unless each reflection is invariant.

    Args:
        grid: the grid. Only axes of equal length, number of cells and boundary condition are exchanged.
        is_invariant: whether the equation, its walls and all drawn fields are invariant under a map.
    """
    maps: dict[str, CellMap] = {}
    for candidates in _candidates(grid, maps):
        invariant = next((cell_map for cell_map in candidates if is_invariant(cell_map)), None)
        if invariant is not None:
            maps[invariant.name] = invariant
    return tuple(maps.values())


def keeps_spectrum(cell_map: CellMap, grid: Grid, variances: np.ndarray) -> bool:
    """Return whether a Gaussian random field keeps its distribution, see `random_fields`.

    Every cosine along a shifted axis needs its sine with the same variance. An even number of modes leaves
    the cosine of the shortest wave alone, which is allowed up to `MAX_UNPAIRED_SHARE` of the variance.

    Args:
        cell_map: the map between the cells.
        grid: the grid.
        variances: the variance of each mode, see `random_fields.standard_deviations`.
    """
    return all(
        variances.shape[axis] % 2 == 1
        or variances.take(-1, axis).sum() <= MAX_UNPAIRED_SHARE * variances.sum()
        for axis, is_shifted in enumerate(cell_map.is_shifted(grid.resolution))
        if is_shifted
    )


def keeps_field(
    cell_map: CellMap,
    grid: Grid,
    values: Callable[[Mapping[str, np.ndarray]], Any],
    *,
    is_pseudo: bool = False,
) -> bool:
    """Return whether a field of known shape is equal to the same field after a map, at random cells.

    Args:
        cell_map: the map between the cells.
        grid: the grid.
        values: function from coordinates (m), by axis name, to the values of the field.
        is_pseudo: whether the field changes its sign in a reflection, see `spec.Field`.
    """
    cells = np.random.default_rng(0).integers(0, grid.resolution, (_NUM_CELLS, len(grid.resolution)))
    before, after = (
        values({DIRECTIONS[axis]: (indices[:, axis] + 0.5) * grid.spacing[axis] for axis in grid.axes})
        for indices in (cells, cell_map.source(cells, grid.resolution))
    )
    factor = cell_map.parity if is_pseudo else 1
    return bool(np.all(np.abs(factor * after - before) <= _ROUND_OFF * np.max(np.abs(before))))


def _candidates(grid: Grid, maps: Mapping[str, CellMap]) -> Iterator[Iterable[CellMap]]:
    """Yield groups of maps, of which the first invariant one is taken; `maps` holds those taken so far."""
    shape = grid.resolution
    periodic_axes = [axis for axis in grid.axes if grid.boundary[axis] == "periodic"]
    shifts: list[dict[int, int]] = [{}]
    shifts += [
        {axis: shape[axis] // divisor}
        for axis in periodic_axes
        for divisor in _SHIFT_DIVISORS
        if shape[axis] % divisor == 0
    ]
    for axis in periodic_axes:
        strides = (stride for stride in range(1, shape[axis]) if shape[axis] % stride == 0)
        yield (_cell_map(shape, "shift", (axis,), shift={axis: stride}) for stride in strides)
    for x, y in itertools.combinations(periodic_axes, 2):
        divisor = math.gcd(shape[x], shape[y])
        if not {_name("shift", (x,)), _name("shift", (y,))} <= maps.keys():
            yield (
                _cell_map(
                    shape, "shift", (x, y), shift={x: shape[x] // divisor, y: sign * (shape[y] // divisor)}
                )
                for sign in (-1, 1)
            )
    for axis in grid.axes:
        yield (_cell_map(shape, "reflection", (axis,), reflected=(axis,), shift=shift) for shift in shifts)
    for x, y in itertools.combinations(grid.axes, 2):
        if not {_name("reflection", (x,)), _name("reflection", (y,))} <= maps.keys():
            yield (_cell_map(shape, "reflection", (x, y), reflected=(x, y), shift=shift) for shift in shifts)
        properties = [(grid.extent[axis], shape[axis], grid.boundary[axis]) for axis in (x, y)]
        if properties[0] == properties[1]:
            yield (_cell_map(shape, "exchange", (x, y), exchanged=(x, y), shift=shift) for shift in shifts)


def _cell_map(
    shape: Sequence[int],
    kind: str,
    axes: tuple[int, ...],
    *,
    exchanged: tuple[int, ...] = (),
    reflected: tuple[int, ...] = (),
    shift: Mapping[int, int],
) -> CellMap:
    """Return the map of a kind along some axes, for example `shift_x`; `shift` holds cells by axis."""
    order = list(range(len(shape)))
    for axis, other in zip(exchanged, reversed(exchanged), strict=True):
        order[axis] = other
    return CellMap(
        name=_name(kind, axes),
        axes=tuple(order),
        signs=tuple(-1 if axis in reflected else 1 for axis in range(len(shape))),
        cells=tuple((shift.get(axis, 0) - (axis in reflected)) % size for axis, size in enumerate(shape)),
    )


def _name(kind: str, axes: tuple[int, ...]) -> str:
    return f"{kind}_{''.join(DIRECTIONS[axis] for axis in axes)}"
