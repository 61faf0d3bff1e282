"""The choice of a family of initial vorticities by the option `initial.kind`."""

from __future__ import annotations

from solvers.navier_stokes.initial.initial import InitialVorticity
from solvers.navier_stokes.initial.matern import Matern, MaternOptions
from solvers.navier_stokes.initial.random_field import RandomField, RandomFieldOptions
from solvers.navier_stokes.initial.shear_layers import ShearLayers, ShearLayersOptions
from solvers.navier_stokes.initial.taylor_green import TaylorGreen, TaylorGreenOptions
from solvers.navier_stokes.initial.vortices import Vortices, VorticesOptions
from solvers.numerics.grid import Grid

InitialOptions = (
    RandomFieldOptions | MaternOptions | TaylorGreenOptions | ShearLayersOptions | VorticesOptions
)


def build_initial(options: InitialOptions, grid: Grid) -> InitialVorticity:
    """Return the family with these options.

    Raises:
        UserError: the grid does not resolve the vorticity.
    """
    match options:
        case RandomFieldOptions():
            return RandomField(grid, options)
        case MaternOptions():
            return Matern(grid, options)
        case TaylorGreenOptions():
            return TaylorGreen(grid, options)
        case ShearLayersOptions():
            return ShearLayers(grid, options)
        case VorticesOptions():
            return Vortices(grid, options)
