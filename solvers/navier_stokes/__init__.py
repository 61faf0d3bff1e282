"""The solver of two-dimensional incompressible flow."""

from solvers.navier_stokes.solver import NavierStokes

__all__ = ["NavierStokes"]
