"""Forcing of the vorticity: no forcing, steady waves, or a ring of random waves."""

from solvers.navier_stokes.forcing.choose import ForcingOptions, build_forcing
from solvers.navier_stokes.forcing.forcing import Forcing
from solvers.navier_stokes.forcing.ring import RingForcing
from solvers.navier_stokes.forcing.steady import SteadyForcing

__all__ = ["Forcing", "ForcingOptions", "RingForcing", "SteadyForcing", "build_forcing"]
