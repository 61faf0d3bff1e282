"""Initial vorticities: random fields, Taylor-Green vortices, shear layers, Gaussian vortices."""

from solvers.navier_stokes.initial.choose import InitialOptions, build_initial
from solvers.navier_stokes.initial.initial import InitialVorticity
from solvers.navier_stokes.initial.random_field import UnitField
from solvers.navier_stokes.initial.shear_layers import ShearLayers
from solvers.navier_stokes.initial.taylor_green import TaylorGreen

__all__ = ["InitialOptions", "InitialVorticity", "ShearLayers", "TaylorGreen", "UnitField", "build_initial"]
