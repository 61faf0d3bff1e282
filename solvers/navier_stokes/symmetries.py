"""The symmetries of two-dimensional flow in a periodic box."""

from __future__ import annotations

from simsurrogate.symmetries import CellMap, SignChange
from solvers.navier_stokes.forcing import Forcing
from solvers.navier_stokes.initial import InitialVorticity, UnitField
from solvers.numerics.grid import Grid
from solvers.numerics.symmetries import cell_maps


def flow_symmetries(
    grid: Grid, forcing: Forcing, initial: InitialVorticity, tracer: UnitField | None
) -> tuple[CellMap | SignChange, ...]:
    """Return the symmetries of the equation and of its distributions, see `simsurrogate.symmetries`.

    A reflection or an exchange of axes changes the sign of vorticity and forcing. The equation is linear in
    the tracer, whose sign may change. A Galilean boost gives the velocity a mean, and the velocity of this
    solver has none.
    """

    def is_invariant(cell_map: CellMap) -> bool:
        return (
            forcing.is_invariant(cell_map)
            and initial.is_invariant(cell_map)
            and (tracer is None or tracer.is_invariant(cell_map))
        )

    symmetries: tuple[CellMap | SignChange, ...] = cell_maps(grid, is_invariant)
    return (*symmetries, SignChange("sign_tracer", ("tracer",))) if tracer else symmetries
