"""The symmetries that a description lists, as operations of a spec."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

from simsurrogate.errors import UserError
from simsurrogate.sites import Grid, Particles
from simsurrogate.symmetries import CellMap, ParticleMap

_PARTICLE_NAMES: tuple[Literal["rotation", "reflection", "permutation", "boost"], ...] = (
    "rotation",
    "reflection",
    "permutation",
    "boost",
)


def symmetries_of(names: Sequence[str], sites: Grid | Particles) -> tuple[CellMap | ParticleMap, ...]:
    """Return the symmetries by name: `shift_x`, `reflection_x` and `exchange_xy` on a grid, or of particles.

    Raises:
        UserError: the sites have no such symmetry.
    """
    operations: dict[str, CellMap | ParticleMap] = (
        {name: ParticleMap(name) for name in _PARTICLE_NAMES}
        if isinstance(sites, Particles)
        else {**_cell_maps(sites)}
    )
    for name in names:
        if name not in operations:
            raise UserError(
                f"symmetries={name} is no symmetry of these sites. Possible are "
                f"{', '.join(operations) or 'none'}. Correct symmetries in the description"
            )
    return tuple(operations[name] for name in dict.fromkeys(names))


def _cell_maps(grid: Grid) -> dict[str, CellMap]:
    """Return the operations that suit the sizes and the boundary conditions of a grid."""
    axes, count = grid.axes, len(grid.axes)
    identity, ones, zeros = tuple(range(count)), (1,) * count, (0,) * count

    def with_item(values: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
        return (*values[:index], value, *values[index + 1 :])

    maps = []
    for index, axis in enumerate(axes):
        if axis.boundary == "periodic":
            maps.append(CellMap(f"shift_{axis.name}", identity, ones, with_item(zeros, index, 1 % axis.size)))
        signs, cells = with_item(ones, index, -1), with_item(zeros, index, axis.size - 1)
        maps.append(CellMap(f"reflection_{axis.name}", identity, signs, cells))
    for first, second in combinations(range(count), 2):
        pair = axes[first], axes[second]
        if len({(axis.size, axis.extent, axis.boundary, axis.unit) for axis in pair}) == 1:
            order = with_item(with_item(identity, first, second), second, first)
            maps.append(CellMap(f"exchange_{pair[0].name}{pair[1].name}", order, ones, zeros))
    return {cell_map.name: cell_map for cell_map in maps}
