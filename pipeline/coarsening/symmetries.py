"""The symmetries of coarse data: the maps between the solver's cells that keep stored cells whole."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from simsurrogate.spec import Spec
from simsurrogate.symmetries import CellMap, ParticleMap, SignChange


def coarse_symmetries(spec: Spec, cells: Sequence[int]) -> Iterator[CellMap | SignChange | ParticleMap]:
    """Yield the symmetries of a solver's spec that the stored frames have; `cells` of a stored cell by axis.

    A shift by a part of a stored cell becomes its smallest multiple that shifts by whole stored cells.
    """
    for symmetry in spec.symmetries:
        coarse = _coarse_map(symmetry, cells) if isinstance(symmetry, CellMap) else symmetry
        if coarse is not None:
            yield coarse


def _coarse_map(cell_map: CellMap, cells: Sequence[int]) -> CellMap | None:
    """Return a map between the stored cells, or None if the map does not keep them whole."""
    if any(cells[axis] != cells[other] for axis, other in enumerate(cell_map.axes)):
        return None
    # The first of the solver's cells that a stored cell receives: a reflection reverses the cells.
    offsets = [
        offset - (count - 1 if sign < 0 else 0)
        for offset, sign, count in zip(cell_map.cells, cell_map.signs, cells, strict=True)
    ]
    if any(offset % count for offset, count in zip(offsets, cells, strict=True)):
        if cell_map.axes != tuple(range(len(cells))) or -1 in cell_map.signs:
            return None
        power = math.lcm(
            *(count // math.gcd(count, offset) for offset, count in zip(offsets, cells, strict=True))
        )
        offsets = [power * offset for offset in offsets]
    return dataclasses.replace(
        cell_map, cells=tuple(offset // count for offset, count in zip(offsets, cells, strict=True))
    )
