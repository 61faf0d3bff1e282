"""A program of any language as a solver: started once for each trajectory, with files in and files out."""

from solvers.executable.solver import Executable

__all__ = ["Executable"]
