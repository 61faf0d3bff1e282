"""The solver of gravitating bodies."""

from solvers.nbody.solver import NBody

__all__ = ["NBody"]
