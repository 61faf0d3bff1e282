"""Surrogates: networks that are trained to replace solvers."""

from surrogates.store import load

__all__ = ["load"]
