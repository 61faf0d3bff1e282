"""Initial vorticities: random fields, Taylor-Green vortices, shear layers, Gaussian vortices."""

from solvers.navier_stokes.initial.choose import InitialOptions, build_initial
from solvers.navier_stokes.initial.initial import InitialVorticity
from solvers.navier_stokes.initial.random_field import UnitField

__all__ = ["InitialOptions", "InitialVorticity", "UnitField", "build_initial"]
