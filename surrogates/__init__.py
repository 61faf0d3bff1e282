"""Trainable stand-ins for solvers."""

from surrogates.store import load

__all__ = ["load"]
