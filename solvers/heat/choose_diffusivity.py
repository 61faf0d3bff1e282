"""The choice of the distribution of the diffusivity."""

from __future__ import annotations

from solvers.heat.diffusivity import (
    Constant,
    ConstantOptions,
    Diffusivity,
    Inclusions,
    InclusionsOptions,
    Lognormal,
    LognormalOptions,
)
from solvers.heat.layers import Layers, LayersOptions
from solvers.numerics.grid import Grid

DiffusivityOptions = ConstantOptions | LognormalOptions | InclusionsOptions | LayersOptions


def build_diffusivity(grid: Grid, options: DiffusivityOptions) -> Diffusivity:
    """Return the distribution of diffusivities of the chosen kind.

    Raises:
        UserError: the grid does not resolve the drawn fields.
    """
    if isinstance(options, ConstantOptions):
        return Constant(grid, options)
    if isinstance(options, LognormalOptions):
        return Lognormal(grid, options)
    if isinstance(options, LayersOptions):
        return Layers(grid, options)
    return Inclusions(grid, options)
