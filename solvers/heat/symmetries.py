"""The symmetries of heat conduction in a box."""

from __future__ import annotations

from functools import partial

from simsurrogate.symmetries import CellMap, SignChange
from solvers.heat.blocks import Blocks
from solvers.heat.diffusivity import Diffusivity
from solvers.heat.heaters import Heaters
from solvers.heat.initial import Initial
from solvers.heat.options import WallValues
from solvers.heat.schemes.choose import SchemeFactory
from solvers.heat.wall_profile import wall_profile
from solvers.numerics.grid import Grid
from solvers.numerics.symmetries import cell_maps, keeps_field


def heat_symmetries(
    grid: Grid,
    wall_values: tuple[WallValues, ...],
    distributions: tuple[Diffusivity, Heaters, Blocks, Initial],
    schemes: SchemeFactory,
) -> tuple[CellMap | SignChange, ...]:
    """Return the symmetries of the equation, its walls and its distributions, see `simsurrogate.symmetries`.

    A map has to keep the values at the walls, the linear profile between them, the distribution of k and that
    of the initial temperature. Heaters are uniform in the box and allow every map, blocks at fixed places
    allow none. The sign of the temperature may change without any source and with values of 0 at all walls.

    Every map commutes with the solver to round-off, except that an exchange of axes commutes with the scheme
    adi to its tolerance. The scheme adi with a declared step does not allow an exchange.
    """
    diffusivity, heaters, blocks, initial = distributions

    def is_invariant(cell_map: CellMap) -> bool:
        # The result's axis `axes[a]` has the walls of axis a.
        mapped_values = {
            target: wall_values[axis][::sign]
            for axis, (target, sign) in enumerate(zip(cell_map.axes, cell_map.signs, strict=True))
        }
        return (
            (schemes.treats_axes_alike or cell_map.axes == tuple(grid.axes))
            and mapped_values == dict(enumerate(wall_values))
            and keeps_field(cell_map, grid, partial(wall_profile, grid, wall_values))
            and not blocks.parameters
            and diffusivity.is_invariant(cell_map)
            and initial.is_invariant(cell_map)
        )

    symmetries: tuple[CellMap | SignChange, ...] = cell_maps(grid, is_invariant)
    has_supply = heaters.names or blocks.parameters or any(any(values) for values in wall_values)
    if initial.has_both_signs and not has_supply:
        symmetries += (SignChange("sign", ("temperature",)),)
    return symmetries
