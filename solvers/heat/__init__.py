"""The solver of heat conduction."""

from solvers.heat.solver import Heat

__all__ = ["Heat"]
