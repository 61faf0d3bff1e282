"""The arithmetic of predictions: fast products and compiled code."""

from surrogates.inference.compiled import Compilable
from surrogates.inference.products import fast_matmul

__all__ = ["Compilable", "fast_matmul"]
